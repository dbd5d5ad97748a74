"""History rows hold what is needed to go back to the version before.

Revision 0003, after 0002.
"""

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"


def upgrade() -> None:
    """Add what this revision adds."""


def downgrade() -> None:
    """Take it away."""
