"""Lists, value filters and full-text search of subscriptions by index.

Revision 0006, after 0005.
"""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"


def upgrade() -> None:
    """Add what this revision adds."""


def downgrade() -> None:
    """Take it away."""
