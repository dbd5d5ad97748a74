"""What customers call their subscriptions, and free data beside a subscription.

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"


def upgrade() -> None:
    """Create two tables."""
    _create_customer_descriptions()
    _create_metadata()


def downgrade() -> None:
    """Drop them with all that is in them."""
    op.drop_table("subscription_metadata", schema=SCHEMA)
    op.drop_table("subscription_customer_descriptions", schema=SCHEMA)


def _create_customer_descriptions() -> None:
    op.create_table(
        "subscription_customer_descriptions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_subscription_customer_descriptions_version")),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            [f"{SCHEMA}.subscriptions.subscription_id"],
            name=op.f("fk_subscription_customer_descriptions_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_customer_descriptions")),
        sa.UniqueConstraint("customer_id", "subscription_id", name="uq_subscription_customer_descriptions_customer"),
        schema=SCHEMA,
        comment="what a customer calls a subscription",
    )
    op.create_index(
        op.f("ix_subscription_customer_descriptions_subscription_id"),
        "subscription_customer_descriptions",
        ["subscription_id"],
        schema=SCHEMA,
    )


def _create_metadata() -> None:
    op.create_table(
        "subscription_metadata",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("metadata", JSONB(), nullable=False),
        sa.CheckConstraint(
            "jsonb_typeof(metadata) = 'object'", name=op.f("ck_subscription_metadata_metadata_is_an_object")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            [f"{SCHEMA}.subscriptions.subscription_id"],
            name=op.f("fk_subscription_metadata_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_subscription_metadata")),
        schema=SCHEMA,
        comment="free data beside a subscription",
    )
