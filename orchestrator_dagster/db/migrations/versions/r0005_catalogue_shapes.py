"""The catalogue knows the fields of models, and who changed it when.

Revision 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"


def upgrade() -> None:
    """Add the fields of products and blocks, and the record of what was applied."""
    op.add_column(
        "products",
        sa.Column("fields", JSONB, comment="its root fields and fixed inputs; null: unknown"),
        schema=SCHEMA,
    )
    op.add_column(
        "product_blocks",
        sa.Column("fields", JSONB, comment="its fields with their types; null: unknown"),
        schema=SCHEMA,
    )
    op.create_table(
        "catalogue_changes",
        sa.Column("change_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column(
            "applied_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
        ),
        sa.Column("applied_by", sa.Text, nullable=False),
        sa.Column("package_version", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False, comment="of the catalogue that the code declared"),
        sa.Column("plan", JSONB, nullable=False, comment="what was done, a line each"),
        sa.PrimaryKeyConstraint("change_id", name="pk_catalogue_changes"),
        schema=SCHEMA,
        comment="when the catalogue was made to follow the code; the newest row says which code that was",
    )
    op.create_index("ix_catalogue_changes_fingerprint", "catalogue_changes", ["fingerprint"], schema=SCHEMA)


def downgrade() -> None:
    """Take it away."""
    op.drop_table("catalogue_changes", schema=SCHEMA)
    op.drop_column("product_blocks", "fields", schema=SCHEMA)
    op.drop_column("products", "fields", schema=SCHEMA)
