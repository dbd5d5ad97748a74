"""The tables of the first version, and the view of their values.

Revision 0001, the first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"

# One row for each resource type of each block, as the older orchestrators store them, for people who query with SQL.
SUBSCRIPTION_VALUES = """
CREATE VIEW orchestrator.subscription_values AS
SELECT instance.subscription_id,
       instance.subscription_instance_id,
       block.name AS product_block,
       item.key AS resource_type,
       item.value AS value,
       item.value #>> '{}' AS value_text
FROM orchestrator.subscription_instances AS instance
JOIN orchestrator.product_blocks AS block USING (product_block_id)
CROSS JOIN LATERAL jsonb_each(instance.values) AS item
"""

# Those that refer to others come first.
TABLES = (
    "subscription_instance_relations",
    "subscription_versions",
    "subscription_instances",
    "processes_subscriptions",
    "subscriptions",
    "resume_tokens",
    "process_steps",
    "process_runs",
    "process_inputs",
    "products_workflows",
    "product_product_blocks",
    "product_block_resource_types",
    "product_block_relations",
    "processes",
    "fixed_inputs",
    "workflows",
    "resource_types",
    "products",
    "product_blocks",
    "engine_settings",
)


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "engine_settings",
        sa.Column("only_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("global_lock", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("only_row", name=op.f("ck_engine_settings_only_row")),
        sa.PrimaryKeyConstraint("only_row", name=op.f("pk_engine_settings")),
        schema=SCHEMA,
    )
    op.create_table(
        "product_blocks",
        sa.Column("product_block_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('active', 'pre production', 'phase out', 'end of life')", name=op.f("ck_product_blocks_status")
        ),
        sa.PrimaryKeyConstraint("product_block_id", name=op.f("pk_product_blocks")),
        sa.UniqueConstraint("name", name=op.f("uq_product_blocks_name")),
        schema=SCHEMA,
    )
    op.create_table(
        "products",
        sa.Column("product_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("product_type", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('active', 'pre production', 'phase out', 'end of life')", name=op.f("ck_products_status")
        ),
        sa.PrimaryKeyConstraint("product_id", name=op.f("pk_products")),
        sa.UniqueConstraint("name", name=op.f("uq_products_name")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_products_tag"), "products", ["tag"], schema=SCHEMA)
    op.create_table(
        "resource_types",
        sa.Column("resource_type_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("resource_type_id", name=op.f("pk_resource_types")),
        sa.UniqueConstraint("resource_type", name=op.f("uq_resource_types_resource_type")),
        schema=SCHEMA,
    )
    op.create_table(
        "workflows",
        sa.Column("workflow_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("is_task", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="no longer in the code; its processes keep it",
        ),
        sa.CheckConstraint(
            "target IN ('CREATE', 'MODIFY', 'TERMINATE', 'VALIDATE', 'RECONCILE', 'SYSTEM')",
            name=op.f("ck_workflows_target"),
        ),
        sa.PrimaryKeyConstraint("workflow_id", name=op.f("pk_workflows")),
        sa.UniqueConstraint("name", name=op.f("uq_workflows_name")),
        schema=SCHEMA,
    )
    op.create_table(
        "fixed_inputs",
        sa.Column("fixed_input_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["orchestrator.products.product_id"],
            name=op.f("fk_fixed_inputs_product_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("fixed_input_id", name=op.f("pk_fixed_inputs")),
        sa.UniqueConstraint("product_id", "name", name=op.f("uq_fixed_inputs_product_id_name")),
        schema=SCHEMA,
    )
    op.create_table(
        "processes",
        sa.Column("process_id", sa.Uuid(), nullable=False, comment="the id of the Dagster run that started it"),
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("is_task", sa.Boolean(), nullable=False),
        sa.Column("last_status", sa.Text(), nullable=False),
        sa.Column("last_step", sa.Text(), nullable=True, comment="key of the step that was logged last"),
        sa.Column("assignee", sa.Text(), server_default="SYSTEM", nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False, comment="the Dagster run that works, or worked last, on it"),
        sa.Column(
            "lease",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="goes up when a run takes it over",
        ),
        sa.Column("plan", JSON(), nullable=False, comment="the steps of its workflow when it was started"),
        sa.Column("created_by", sa.Text(), server_default="SYSTEM", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_modified_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("failed_reason", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(last_status = 'failed') <= (failed_reason IS NOT NULL)", name=op.f("ck_processes_failed_has_a_reason")
        ),
        sa.CheckConstraint(
            "last_status IN ("
            "'created', 'running', 'suspended', 'waiting', 'awaiting_callback', 'aborted', "
            "'failed', 'api_unavailable', 'inconsistent_data', 'completed', 'resumed')",
            name=op.f("ck_processes_last_status"),
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["orchestrator.workflows.workflow_id"], name=op.f("fk_processes_workflow_id")
        ),
        sa.PrimaryKeyConstraint("process_id", name=op.f("pk_processes")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_processes_started_at"), "processes", ["started_at"], schema=SCHEMA)
    op.create_index(
        "ix_processes_unfinished",
        "processes",
        ["last_status"],
        schema=SCHEMA,
        postgresql_where=sa.text("last_status NOT IN ('completed', 'aborted')"),
    )
    op.create_index(op.f("ix_processes_workflow_id"), "processes", ["workflow_id"], schema=SCHEMA)
    op.create_table(
        "product_block_relations",
        sa.Column("in_use_by_id", sa.Uuid(), nullable=False),
        sa.Column("depends_on_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["depends_on_id"],
            ["orchestrator.product_blocks.product_block_id"],
            name=op.f("fk_product_block_relations_depends_on_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["in_use_by_id"],
            ["orchestrator.product_blocks.product_block_id"],
            name=op.f("fk_product_block_relations_in_use_by_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("in_use_by_id", "depends_on_id", name=op.f("pk_product_block_relations")),
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_product_block_relations_depends_on_id"), "product_block_relations", ["depends_on_id"], schema=SCHEMA
    )
    op.create_table(
        "product_block_resource_types",
        sa.Column("product_block_id", sa.Uuid(), nullable=False),
        sa.Column("resource_type_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_block_id"],
            ["orchestrator.product_blocks.product_block_id"],
            name=op.f("fk_product_block_resource_types_product_block_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["resource_type_id"],
            ["orchestrator.resource_types.resource_type_id"],
            name=op.f("fk_product_block_resource_types_resource_type_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("product_block_id", "resource_type_id", name=op.f("pk_product_block_resource_types")),
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_product_block_resource_types_resource_type_id"),
        "product_block_resource_types",
        ["resource_type_id"],
        schema=SCHEMA,
    )
    op.create_table(
        "product_product_blocks",
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("product_block_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_block_id"],
            ["orchestrator.product_blocks.product_block_id"],
            name=op.f("fk_product_product_blocks_product_block_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["orchestrator.products.product_id"],
            name=op.f("fk_product_product_blocks_product_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("product_id", "product_block_id", name=op.f("pk_product_product_blocks")),
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_product_product_blocks_product_block_id"),
        "product_product_blocks",
        ["product_block_id"],
        schema=SCHEMA,
    )
    op.create_table(
        "products_workflows",
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["orchestrator.products.product_id"],
            name=op.f("fk_products_workflows_product_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["orchestrator.workflows.workflow_id"],
            name=op.f("fk_products_workflows_workflow_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("product_id", "workflow_id", name=op.f("pk_products_workflows")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_products_workflows_workflow_id"), "products_workflows", ["workflow_id"], schema=SCHEMA)
    op.create_table(
        "process_inputs",
        sa.Column("input_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("input_type", sa.Text(), nullable=False),
        sa.Column("input", JSON(), nullable=False, comment="as it was given"),
        sa.Column("state", JSON(), nullable=False, comment="what it adds to the state"),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("input_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("input_type IN ('initial_state', 'user_input')", name=op.f("ck_process_inputs_input_type")),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["orchestrator.processes.process_id"],
            name=op.f("fk_process_inputs_process_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("input_id", name=op.f("pk_process_inputs")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_process_inputs_process_id"), "process_inputs", ["process_id"], schema=SCHEMA)
    op.create_index(
        "uq_process_inputs_initial_state",
        "process_inputs",
        ["process_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("input_type = 'initial_state'"),
    )
    op.create_table(
        "process_runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["orchestrator.processes.process_id"],
            name=op.f("fk_process_runs_process_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_process_runs")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_process_runs_process_id"), "process_runs", ["process_id"], schema=SCHEMA)
    op.create_table(
        "process_steps",
        sa.Column("step_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False, comment="key of the step: its op's handle in the job"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="title of the step"),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("changes", JSON(), nullable=False, comment="the difference that the step made to the state"),
        sa.Column(
            "conditions",
            JSONB(none_as_null=True),
            nullable=True,
            comment="what conditionals decided when this step was reached",
        ),
        sa.Column("error", JSONB(none_as_null=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status = 'failed') <= (error IS NOT NULL)", name=op.f("ck_process_steps_failed_has_an_error")
        ),
        sa.CheckConstraint(
            "status IN ("
            "'success', 'skipped', 'suspend', 'waiting', 'awaiting_callback', 'failed', "
            "'abort', 'complete')",
            name=op.f("ck_process_steps_status"),
        ),
        sa.CheckConstraint("attempt > 0", name=op.f("ck_process_steps_attempt")),
        sa.CheckConstraint("completed_at >= started_at", name=op.f("ck_process_steps_completed_after_started")),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["orchestrator.processes.process_id"],
            name=op.f("fk_process_steps_process_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("step_id", name=op.f("pk_process_steps")),
        sa.UniqueConstraint("process_id", "step", "attempt", name=op.f("uq_process_steps_process_id_step_attempt")),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_process_steps_finished_once",
        "process_steps",
        ["process_id", "step"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('success', 'skipped', 'complete')"),
    )
    op.create_table(
        "resume_tokens",
        sa.Column("token", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("used_by_run", sa.Text(), nullable=True, comment="a token lets one run go on with the process, once"),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["orchestrator.processes.process_id"],
            name=op.f("fk_resume_tokens_process_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_resume_tokens")),
        sa.UniqueConstraint("used_by_run", name=op.f("uq_resume_tokens_used_by_run")),
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_resume_tokens_process_id"), "resume_tokens", ["process_id"], schema=SCHEMA)
    op.create_table(
        "subscriptions",
        sa.Column("subscription_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("insync", sa.Boolean(), nullable=False),
        sa.Column(
            "held_by",
            sa.Uuid(),
            nullable=True,
            comment="the process that works on the subscription; failed and waiting ones keep it",
        ),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "status IN ('initial', 'provisioning', 'active', 'migrating', 'disabled', 'terminated')",
            name=op.f("ck_subscriptions_status"),
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_subscriptions_version")),
        sa.ForeignKeyConstraint(
            ["held_by"], ["orchestrator.processes.process_id"], name=op.f("fk_subscriptions_held_by")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["orchestrator.products.product_id"], name=op.f("fk_subscriptions_product_id")
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_subscriptions")),
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_subscriptions_created_at_subscription_id"),
        "subscriptions",
        ["created_at", "subscription_id"],
        schema=SCHEMA,
    )
    op.create_index(op.f("ix_subscriptions_customer_id"), "subscriptions", ["customer_id"], schema=SCHEMA)
    op.create_index(
        "ix_subscriptions_held_by",
        "subscriptions",
        ["held_by"],
        schema=SCHEMA,
        postgresql_where=sa.text("held_by IS NOT NULL"),
    )
    op.create_index(op.f("ix_subscriptions_product_id"), "subscriptions", ["product_id"], schema=SCHEMA)
    op.create_index(op.f("ix_subscriptions_status"), "subscriptions", ["status"], schema=SCHEMA)
    op.create_table(
        "processes_subscriptions",
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["orchestrator.processes.process_id"],
            name=op.f("fk_processes_subscriptions_process_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["orchestrator.subscriptions.subscription_id"],
            name=op.f("fk_processes_subscriptions_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("process_id", "subscription_id", name=op.f("pk_processes_subscriptions")),
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_processes_subscriptions_subscription_id"),
        "processes_subscriptions",
        ["subscription_id"],
        schema=SCHEMA,
    )
    op.create_table(
        "subscription_instances",
        sa.Column("subscription_instance_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("product_block_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("values", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column(
            "attribute",
            sa.Text(),
            nullable=True,
            comment="the subscription's field that holds it; null for a nested block",
        ),
        sa.Column("position", sa.Integer(), nullable=True, comment="its place in that field, from 0"),
        sa.CheckConstraint(
            "jsonb_typeof(values) = 'object'", name=op.f("ck_subscription_instances_values_are_an_object")
        ),
        sa.CheckConstraint(
            "(attribute IS NULL) = (position IS NULL)", name=op.f("ck_subscription_instances_root_has_a_position")
        ),
        sa.CheckConstraint("position >= 0", name=op.f("ck_subscription_instances_position")),
        sa.ForeignKeyConstraint(
            ["product_block_id"],
            ["orchestrator.product_blocks.product_block_id"],
            name=op.f("fk_subscription_instances_product_block_id"),
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["orchestrator.subscriptions.subscription_id"],
            name=op.f("fk_subscription_instances_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_instance_id", name=op.f("pk_subscription_instances")),
        sa.UniqueConstraint(
            "subscription_id",
            "attribute",
            "position",
            deferrable=True,
            initially="DEFERRED",
            name=op.f("uq_subscription_instances_subscription_id_attribute_position"),
        ),
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_subscription_instances_product_block_id"),
        "subscription_instances",
        ["product_block_id"],
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_subscription_instances_subscription_id"), "subscription_instances", ["subscription_id"], schema=SCHEMA
    )
    op.create_table(
        "subscription_versions",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("process_id", sa.Uuid(), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("changes", JSONB(), nullable=False, comment="{path: {before, after}}"),
        sa.CheckConstraint(
            "jsonb_typeof(changes) = 'object'", name=op.f("ck_subscription_versions_changes_are_an_object")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_subscription_versions_version")),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["orchestrator.processes.process_id"],
            name=op.f("fk_subscription_versions_process_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["orchestrator.subscriptions.subscription_id"],
            name=op.f("fk_subscription_versions_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", "version", name=op.f("pk_subscription_versions")),
        schema=SCHEMA,
        comment="the history of subscriptions",
    )
    op.create_index(
        op.f("ix_subscription_versions_process_id"),
        "subscription_versions",
        ["process_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("process_id IS NOT NULL"),
    )
    op.create_table(
        "subscription_instance_relations",
        sa.Column("in_use_by_id", sa.Uuid(), nullable=False),
        sa.Column("attribute", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("depends_on_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("position >= 0", name=op.f("ck_subscription_instance_relations_position")),
        sa.ForeignKeyConstraint(
            ["depends_on_id"],
            ["orchestrator.subscription_instances.subscription_instance_id"],
            name=op.f("fk_subscription_instance_relations_depends_on_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["in_use_by_id"],
            ["orchestrator.subscription_instances.subscription_instance_id"],
            name=op.f("fk_subscription_instance_relations_in_use_by_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "in_use_by_id", "attribute", "position", name=op.f("pk_subscription_instance_relations")
        ),
        sa.UniqueConstraint(
            "in_use_by_id",
            "depends_on_id",
            deferrable=True,
            initially="DEFERRED",
            name=op.f("uq_subscription_instance_relations_in_use_by_id_depends_on_id"),
        ),
        schema=SCHEMA,
    )
    op.create_index(
        op.f("ix_subscription_instance_relations_depends_on_id"),
        "subscription_instance_relations",
        ["depends_on_id"],
        schema=SCHEMA,
    )
    op.execute("INSERT INTO orchestrator.engine_settings DEFAULT VALUES")
    op.execute(SUBSCRIPTION_VALUES)


def downgrade() -> None:
    """Drop everything."""
    op.execute("DROP VIEW orchestrator.subscription_values")
    for table in TABLES:
        op.drop_table(table, schema=SCHEMA)
