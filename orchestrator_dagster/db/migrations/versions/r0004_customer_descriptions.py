"""What customers call their subscriptions, and free data beside a subscription.

Revision 0004, after 0003.
"""

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"


def upgrade() -> None:
    """Add what this revision adds."""


def downgrade() -> None:
    """Take it away."""
