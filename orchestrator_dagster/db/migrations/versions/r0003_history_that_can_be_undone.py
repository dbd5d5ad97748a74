"""History rows hold what is needed to go back to the version before.

Revision 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"
TABLE = "subscription_versions"

# the blocks of which a row holds the whole state before: those that it removed
REMOVED_BLOCKS = sa.text("jsonb_path_query_array(undo, '$.blocks.keyvalue() ? (exists (@.value.product_block)).key')")
REMOVES_BLOCKS = sa.text("jsonb_path_exists(undo, '$.blocks.*.product_block')")


def upgrade() -> None:
    """Add the column, and what finds the rows to go back by. Rows that are there already cannot be undone."""
    op.add_column(
        TABLE,
        sa.Column(
            "undo",
            JSONB(none_as_null=True),
            nullable=True,
            comment="how to get back to the version before; null for the first one",
        ),
        schema=SCHEMA,
    )
    op.create_check_constraint(
        op.f("ck_subscription_versions_undo_is_an_object"), TABLE, "jsonb_typeof(undo) = 'object'", schema=SCHEMA
    )
    op.create_index(
        op.f("ix_subscription_versions_subscription_id_changed_at"),
        TABLE,
        ["subscription_id", "changed_at"],
        schema=SCHEMA,
    )
    op.create_index(
        "ix_subscription_versions_removed_blocks",
        TABLE,
        [REMOVED_BLOCKS],
        schema=SCHEMA,
        postgresql_using="gin",
        postgresql_where=REMOVES_BLOCKS,
    )


def downgrade() -> None:
    """Drop all of it."""
    op.drop_index("ix_subscription_versions_removed_blocks", TABLE, schema=SCHEMA)
    op.drop_index(op.f("ix_subscription_versions_subscription_id_changed_at"), TABLE, schema=SCHEMA)
    op.drop_column(TABLE, "undo", schema=SCHEMA)
