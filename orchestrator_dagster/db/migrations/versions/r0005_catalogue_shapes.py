"""The catalogue knows the fields of models, and who changed it when.

Revision 0005, after 0004.
"""

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"


def upgrade() -> None:
    """Add what this revision adds."""


def downgrade() -> None:
    """Take it away."""
