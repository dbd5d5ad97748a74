"""The tables of the schema `orchestrator`, as they are after the newest migration."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB, TSVECTOR

from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.process import ProcessStatus, StepStatus
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.domain.waiting import WaitKind

SCHEMA = "orchestrator"

NEVER = "'infinity'::timestamp with time zone"
"""What a date that is not there counts as in lists: later than all others."""

# What saves have added to such an index waits in a list until it is this long (kB), and every search reads that list.
_PENDING = {"gin_pending_list_limit": 1024}

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    },
)


def _id(name: str) -> Column[Any]:
    return Column(name, Uuid, primary_key=True, server_default=text("gen_random_uuid()"))


def _created_at() -> Column[Any]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


def _one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({_names(values)})", name=column)


def _names(values: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{value}'" for value in values)


products = Table(
    "products",
    metadata,
    _id("product_id"),
    Column("name", Text, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("product_type", Text, nullable=False),
    Column("tag", Text, nullable=False, index=True),
    Column("status", Text, nullable=False),
    _created_at(),
    Column("end_date", DateTime(timezone=True)),
    Column("fields", JSONB, comment="its root fields and fixed inputs; null: unknown"),
    _one_of("status", ProductLifecycle),
)

fixed_inputs = Table(
    "fixed_inputs",
    metadata,
    _id("fixed_input_id"),
    Column("product_id", ForeignKey(products.c.product_id, ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("value", JSONB, nullable=False),
    _created_at(),
    UniqueConstraint("product_id", "name"),
)

product_blocks = Table(
    "product_blocks",
    metadata,
    _id("product_block_id"),
    Column("name", Text, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=ProductLifecycle.ACTIVE),
    _created_at(),
    Column("end_date", DateTime(timezone=True)),
    Column("fields", JSONB, comment="its fields with their types; null: unknown"),
    _one_of("status", ProductLifecycle),
)

resource_types = Table(
    "resource_types",
    metadata,
    _id("resource_type_id"),
    Column("resource_type", Text, nullable=False, unique=True),
    Column("description", Text, nullable=False),
)

product_product_blocks = Table(
    "product_product_blocks",
    metadata,
    Column("product_id", ForeignKey(products.c.product_id, ondelete="CASCADE"), primary_key=True),
    Column("product_block_id", ForeignKey(product_blocks.c.product_block_id, ondelete="CASCADE"), primary_key=True),
    Index(None, "product_block_id"),
)

product_block_resource_types = Table(
    "product_block_resource_types",
    metadata,
    Column("product_block_id", ForeignKey(product_blocks.c.product_block_id, ondelete="CASCADE"), primary_key=True),
    Column("resource_type_id", ForeignKey(resource_types.c.resource_type_id, ondelete="CASCADE"), primary_key=True),
    Index(None, "resource_type_id"),
)

product_block_relations = Table(
    "product_block_relations",
    metadata,
    Column("in_use_by_id", ForeignKey(product_blocks.c.product_block_id, ondelete="CASCADE"), primary_key=True),
    Column("depends_on_id", ForeignKey(product_blocks.c.product_block_id, ondelete="CASCADE"), primary_key=True),
    Index(None, "depends_on_id"),
)

workflows = Table(
    "workflows",
    metadata,
    _id("workflow_id"),
    Column("name", Text, nullable=False, unique=True),
    Column("target", Text, nullable=False),
    Column("is_task", Boolean, nullable=False, server_default=text("false")),
    Column("description", Text, nullable=False),
    _created_at(),
    Column("deleted_at", DateTime(timezone=True), comment="no longer in the code; its processes keep it"),
    _one_of("target", Target),
)

products_workflows = Table(
    "products_workflows",
    metadata,
    Column("product_id", ForeignKey(products.c.product_id, ondelete="CASCADE"), primary_key=True),
    Column("workflow_id", ForeignKey(workflows.c.workflow_id, ondelete="CASCADE"), primary_key=True),
    Index(None, "workflow_id"),
)

processes = Table(
    "processes",
    metadata,
    Column("process_id", Uuid, primary_key=True, comment="the id of the Dagster run that started it"),
    Column("workflow_id", ForeignKey(workflows.c.workflow_id), nullable=False, index=True),
    Column("is_task", Boolean, nullable=False),
    Column("last_status", Text, nullable=False),
    Column("last_step", Text, comment="key of the step that was logged last"),
    Column("assignee", Text, nullable=False, server_default="SYSTEM"),
    Column("run_id", Text, nullable=False, comment="the Dagster run that works, or worked last, on it"),
    Column("lease", Integer, nullable=False, server_default=text("1"), comment="goes up when a run takes it over"),
    Column(
        "plan",
        JSON,
        nullable=False,
        comment="the steps of its workflow when it was started, or when it last went on after an edit",
    ),
    Column("created_by", Text, nullable=False, server_default="SYSTEM"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("last_modified_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("failed_reason", Text),
    Column("traceback", Text),
    Column("note", Text),
    Column(
        "parent_process_id",
        ForeignKey("orchestrator.processes.process_id", ondelete="SET NULL"),
        comment="the process that started it, and waits for it",
    ),
    Column("abort_requested_at", DateTime(timezone=True), comment="a run is to undo what there is to undo, and end it"),
    Column("abort_requested_by", Text),
    Column("abort_reason", Text),
    Column("seen_at", DateTime(timezone=True), comment="when the run in a long step was last known to be alive"),
    _one_of("last_status", ProcessStatus),
    CheckConstraint(
        f"(last_status IN ({_names(status for status in ProcessStatus if status.failed)})) "
        "<= (failed_reason IS NOT NULL)",
        name="failed_has_a_reason",
    ),
    CheckConstraint("(abort_requested_at IS NULL) = (abort_requested_by IS NULL)", name="somebody_asked_to_abort"),
    Index(None, "started_at"),
    Index(None, "parent_process_id", postgresql_where=text("parent_process_id IS NOT NULL")),
    Index(
        "ix_processes_queued",
        "started_at",
        postgresql_where=text(f"last_status IN ({_names(status for status in ProcessStatus if status.queued)})"),
    ),
    Index(
        "ix_processes_unfinished",
        "last_status",
        postgresql_where=text("last_status NOT IN ('completed', 'aborted')"),
    ),
)

process_runs = Table(
    "process_runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("process_id", ForeignKey(processes.c.process_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

resume_tokens = Table(
    "resume_tokens",
    metadata,
    _id("token"),
    Column("process_id", ForeignKey(processes.c.process_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("created_by", Text, nullable=False),
    _created_at(),
    Column("used_by_run", Text, unique=True, comment="a token lets one run go on with the process, once"),
    Column("submitted_at", DateTime(timezone=True), comment="when somebody last set out to submit a run with it"),
    # those who let a process go on at once share one, so that it goes on once
    Index("uq_resume_tokens_unused", "process_id", unique=True, postgresql_where=text("used_by_run IS NULL")),
)

process_inputs = Table(
    "process_inputs",
    metadata,
    _id("input_id"),
    Column("process_id", ForeignKey(processes.c.process_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("input_type", Text, nullable=False),
    Column("step", Text, comment="the step that asked for it; null for the input that started the process"),
    Column("input", JSON, nullable=False, comment="as it was given"),
    Column("state", JSON, nullable=False, comment="what it adds to the state"),
    Column("created_by", Text, nullable=False),
    Column("input_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("input_type IN ('initial_state', 'user_input')", name="input_type"),
    Index(
        "uq_process_inputs_initial_state",
        "process_id",
        unique=True,
        postgresql_where=text("input_type = 'initial_state'"),
    ),
)

process_steps = Table(
    "process_steps",
    metadata,
    Column("step_id", BigInteger, Identity(always=True), primary_key=True),
    Column("process_id", ForeignKey(processes.c.process_id, ondelete="CASCADE"), nullable=False),
    Column(
        "step", Text, nullable=False, comment="key of the step: its op's handle in the job, in a foreach with the index"
    ),
    Column("attempt", Integer, nullable=False),
    Column("branch", Text, nullable=False, server_default=text("''"), comment="the branch it is in, as in parallel[0]"),
    Column(
        "round",
        SmallInteger,
        nullable=False,
        server_default=text("1"),
        comment="goes up when the steps of a group start again",
    ),
    Column("name", Text, nullable=False, comment="title of the step"),
    Column("status", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("changes", JSON, nullable=False, comment="the difference that the step made to the state"),
    Column(
        "edits",
        JSON(none_as_null=True),
        comment="what the step changed inside values that the state had already, by key",
    ),
    Column("conditions", JSONB(none_as_null=True), comment="what conditionals decided when this step was reached"),
    Column("error", JSONB(none_as_null=True)),
    Column("detail", JSON(none_as_null=True), comment="what else is to be known of it, such as the items of a foreach"),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("completed_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("process_id", "step", "attempt"),
    CheckConstraint("attempt > 0", name="attempt"),
    CheckConstraint("completed_at >= started_at", name="completed_after_started"),
    CheckConstraint("(status = 'failed') <= (error IS NOT NULL)", name="failed_has_an_error"),
    _one_of("status", StepStatus),
    Index(
        "uq_process_steps_finished_once",
        "process_id",
        "step",
        "round",
        unique=True,
        postgresql_where=text(f"status IN ({_names(status for status in StepStatus if status.finished)})"),
    ),
)

process_waits = Table(
    "process_waits",
    metadata,
    Column("process_id", ForeignKey(processes.c.process_id, ondelete="CASCADE"), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("name", Text, nullable=False, comment="title of the step"),
    Column("kind", Text, nullable=False),
    Column("branch", Text, nullable=False, server_default=text("''")),
    Column("status", Text, comment="where the process stands because of it, where its kind doesn't say that"),
    Column("assignee", Text, nullable=False, server_default="SYSTEM"),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True), comment="when it goes on by itself, or when it is too late"),
    Column("waits_for", Uuid, comment="the process that it waits for"),
    Column("form", JSON(none_as_null=True), comment="schema of the first page that is to be answered"),
    Column("reason", Text, comment="why it failed, or is tried again"),
    Column("traceback", Text),
    Column("ready_at", DateTime(timezone=True), comment="when what it waits for was there"),
    Column("answer", JSON(none_as_null=True), comment="what the answer adds to the state"),
    Column("given", JSON(none_as_null=True), comment="the answer as it was given"),
    Column("answered_by", Text),
    _one_of("kind", WaitKind),
    Index(None, "due_at", postgresql_where=text("ready_at IS NULL AND due_at IS NOT NULL")),
    Index(None, "waits_for", postgresql_where=text("waits_for IS NOT NULL")),
    comment="the steps that were reached and are not finished, and what they wait for",
)

process_callbacks = Table(
    "process_callbacks",
    metadata,
    Column("process_id", ForeignKey(processes.c.process_id, ondelete="CASCADE"), primary_key=True),
    Column("token_hash", Text, primary_key=True, comment="sha256 of the token in the address"),
    Column("step", Text, nullable=False, comment="key of the step that awaits it"),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True)),
    Column("body", JSON, comment="what the other system sent"),
    Column("progress", JSON, comment="how far the other system says that it is"),
    Column("progress_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True), comment="when it was not waited for any more"),
    Index(
        "uq_process_callbacks_open",
        "process_id",
        "step",
        unique=True,
        postgresql_where=text("closed_at IS NULL"),
    ),
    comment="the addresses at which processes wait for other systems",
)

subscriptions = Table(
    "subscriptions",
    metadata,
    _id("subscription_id"),
    Column("product_id", ForeignKey(products.c.product_id), nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("insync", Boolean, nullable=False),
    Column(
        "held_by",
        ForeignKey(processes.c.process_id),
        comment="the process that works on the subscription; failed and waiting ones keep it",
    ),
    Column("start_date", DateTime(timezone=True)),
    Column("end_date", DateTime(timezone=True)),
    Column("note", Text),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    _one_of("status", SubscriptionLifecycle),
    CheckConstraint("version > 0", name="version"),
    # What a list is filtered by comes before what it is sorted by. A date that is not there counts as later than all
    # others: so a list goes on in the index where the page before ended. An index takes no text of any length.
    Index(None, "created_at", "subscription_id"),
    Index(None, "product_id", "status", "created_at", "subscription_id"),
    Index(None, "customer_id", "created_at", "subscription_id"),
    Index(None, "status", "created_at", "subscription_id"),
    Index("ix_subscriptions_out_of_sync", "created_at", "subscription_id", postgresql_where=text("NOT insync")),
    Index("ix_subscriptions_start_date", text(f"coalesce(start_date, {NEVER})"), "subscription_id"),
    Index("ix_subscriptions_end_date", text(f"coalesce(end_date, {NEVER})"), "subscription_id"),
    Index("ix_subscriptions_description", text('"left"(description, 100)'), "subscription_id"),
    Index("ix_subscriptions_held_by", "held_by", postgresql_where=text("held_by IS NOT NULL")),
)

processes_subscriptions = Table(
    "processes_subscriptions",
    metadata,
    Column("process_id", ForeignKey(processes.c.process_id, ondelete="CASCADE"), primary_key=True),
    Column("subscription_id", ForeignKey(subscriptions.c.subscription_id, ondelete="CASCADE"), primary_key=True),
    _created_at(),
    Index(None, "subscription_id"),
)

subscription_instances = Table(
    "subscription_instances",
    metadata,
    _id("subscription_instance_id"),
    Column(
        "subscription_id", ForeignKey(subscriptions.c.subscription_id, ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("product_block_id", ForeignKey(product_blocks.c.product_block_id), nullable=False, index=True),
    Column("label", Text),
    Column("values", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("attribute", Text, comment="the subscription's field that holds it; null for a nested block"),
    Column("position", Integer, comment="its place in that field, from 0"),
    CheckConstraint("(attribute IS NULL) = (position IS NULL)", name="root_has_a_position"),
    CheckConstraint("position >= 0", name="position"),
    CheckConstraint("jsonb_typeof(values) = 'object'", name="values_are_an_object"),
    UniqueConstraint("subscription_id", "attribute", "position", deferrable=True, initially="DEFERRED"),
    # finds blocks by what their values contain
    Index(
        None,
        "values",
        postgresql_using="gin",
        postgresql_ops={"values": "jsonb_path_ops"},
        postgresql_with=_PENDING,
    ),
)

subscription_instance_relations = Table(
    "subscription_instance_relations",
    metadata,
    Column(
        "in_use_by_id",
        ForeignKey(subscription_instances.c.subscription_instance_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("attribute", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column(
        "depends_on_id",
        ForeignKey(subscription_instances.c.subscription_instance_id, deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
    CheckConstraint("position >= 0", name="position"),
    UniqueConstraint("in_use_by_id", "depends_on_id", deferrable=True, initially="DEFERRED"),
    Index(None, "depends_on_id"),
)

subscription_versions = Table(
    "subscription_versions",
    metadata,
    Column("subscription_id", ForeignKey(subscriptions.c.subscription_id, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("changed_by", Text, nullable=False),
    Column("process_id", ForeignKey(processes.c.process_id, ondelete="SET NULL")),
    Column("step", Text),
    Column("changes", JSONB, nullable=False, comment="{path: {before, after}}"),
    Column(
        "undo",
        JSONB(none_as_null=True),
        comment="how to get back to the version before; null for the first one",
    ),
    CheckConstraint("version > 0", name="version"),
    CheckConstraint("jsonb_typeof(changes) = 'object'", name="changes_are_an_object"),
    CheckConstraint("jsonb_typeof(undo) = 'object'", name="undo_is_an_object"),
    Index(None, "process_id", postgresql_where=text("process_id IS NOT NULL")),
    Index(None, "subscription_id", "changed_at"),
    # finds the subscription that a block was part of before it was removed
    Index(
        "ix_subscription_versions_removed_blocks",
        text("jsonb_path_query_array(undo, '$.blocks.keyvalue() ? (exists (@.value.product_block)).key')"),
        postgresql_using="gin",
        postgresql_where=text("jsonb_path_exists(undo, '$.blocks.*.product_block')"),
    ),
    comment="the history of subscriptions",
)

subscription_customer_descriptions = Table(
    "subscription_customer_descriptions",
    metadata,
    _id("id"),
    Column("subscription_id", ForeignKey(subscriptions.c.subscription_id, ondelete="CASCADE"), nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("description", Text, nullable=False),
    _created_at(),
    Column("version", Integer, nullable=False, server_default=text("1")),
    UniqueConstraint("customer_id", "subscription_id", name="uq_subscription_customer_descriptions_customer"),
    CheckConstraint("version > 0", name="version"),
    Index(None, "subscription_id"),
    comment="what a customer calls a subscription",
)

subscription_metadata = Table(
    "subscription_metadata",
    metadata,
    Column("subscription_id", ForeignKey(subscriptions.c.subscription_id, ondelete="CASCADE"), primary_key=True),
    Column("metadata", JSONB, nullable=False),
    CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_is_an_object"),
    comment="free data beside a subscription",
)

subscription_search = Table(
    "subscription_search",
    metadata,
    Column("subscription_id", ForeignKey(subscriptions.c.subscription_id, ondelete="CASCADE"), primary_key=True),
    Column("document", TSVECTOR, nullable=False),
    Index(None, "document", postgresql_using="gin", postgresql_with=_PENDING),
    comment="the words of each subscription; kept by triggers",
)

catalogue_changes = Table(
    "catalogue_changes",
    metadata,
    Column("change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("applied_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("applied_by", Text, nullable=False),
    Column("package_version", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, index=True, comment="of the catalogue that the code declared"),
    Column("plan", JSONB, nullable=False, comment="what was done, a line each"),
    comment="when the catalogue was made to follow the code; the newest row says which code that was",
)

engine_settings = Table(
    "engine_settings",
    metadata,
    Column("only_row", Boolean, primary_key=True, server_default=text("true")),
    Column("global_lock", Boolean, nullable=False, server_default=text("false"), comment="whether it is paused"),
    Column("changed_at", DateTime(timezone=True), comment="when it was paused or resumed last"),
    Column("changed_by", Text),
    Column("reason", Text),
    CheckConstraint("only_row", name="only_row"),
)
