"""Waits, callbacks, branches of the step log, abort requests and the engine's own settings.

Revision 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"

_FINISHED = "status IN ('success', 'skipped', 'complete')"

# Two who let a process go on made two tokens, of which the process needs one.
_DROP_UNUSED_TOKENS_BUT_ONE = """
    DELETE FROM orchestrator.resume_tokens AS older
    USING orchestrator.resume_tokens AS newer
    WHERE older.process_id = newer.process_id
      AND older.used_by_run IS NULL
      AND newer.used_by_run IS NULL
      AND (older.created_at, older.token) < (newer.created_at, newer.token)
"""

# The revision before knows a step as finished once. What it reads of the state it reads from all rows, in order.
_TELL_ROUNDS_BY_KEY = """
    UPDATE orchestrator.process_steps AS earlier
    SET step = earlier.step || '#' || earlier.round
    WHERE EXISTS (SELECT
                  FROM orchestrator.process_steps AS later
                  WHERE later.process_id = earlier.process_id
                    AND later.step = earlier.step
                    AND later.round > earlier.round)
"""
_LET_WAITING_PROCESSES_FAIL = """
    UPDATE orchestrator.processes
    SET last_status = 'failed',
        failed_reason = coalesce(failed_reason,
                                 'It was ' || last_status || ' when the database went back to revision 0006')
    WHERE last_status NOT IN ('running', 'completed', 'aborted', 'failed')
"""


def upgrade() -> None:
    """Add what processes need that wait, branch and are aborted."""
    _extend_processes()
    _extend_steps()
    _create_waits()
    _create_callbacks()
    _extend_inputs_and_settings()
    op.add_column(
        "resume_tokens",
        sa.Column(
            "submitted_at",
            sa.DateTime(timezone=True),
            comment="when somebody last set out to submit a run with it",
        ),
        schema=SCHEMA,
    )
    op.execute(_DROP_UNUSED_TOKENS_BUT_ONE)
    op.create_index(
        "uq_resume_tokens_unused",
        "resume_tokens",
        ["process_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("used_by_run IS NULL"),
    )


def downgrade() -> None:
    """Take it away again; processes that wait stand as failed then."""
    op.drop_index("uq_resume_tokens_unused", "resume_tokens", schema=SCHEMA)
    op.drop_column("resume_tokens", "submitted_at", schema=SCHEMA)
    for column in ("reason", "changed_by", "changed_at"):
        op.drop_column("engine_settings", column, schema=SCHEMA)
    _comment_on("engine_settings", "global_lock", None)
    op.drop_column("process_inputs", "step", schema=SCHEMA)
    op.drop_table("process_callbacks", schema=SCHEMA)
    op.drop_table("process_waits", schema=SCHEMA)
    _restore_steps()
    _restore_processes()


def _extend_processes() -> None:
    for column in (
        sa.Column("parent_process_id", sa.Uuid, comment="the process that started it, and waits for it"),
        sa.Column(
            "abort_requested_at",
            sa.DateTime(timezone=True),
            comment="a run is to undo what there is to undo, and end it",
        ),
        sa.Column("abort_requested_by", sa.Text),
        sa.Column("abort_reason", sa.Text),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            comment="when the run in a long step was last known to be alive",
        ),
    ):
        op.add_column("processes", column, schema=SCHEMA)
    _comment_on(
        "processes", "plan", "the steps of its workflow when it was started, or when it last went on after an edit"
    )
    op.create_foreign_key(
        "fk_processes_parent_process_id",
        "processes",
        "processes",
        ["parent_process_id"],
        ["process_id"],
        ondelete="SET NULL",
        source_schema=SCHEMA,
        referent_schema=SCHEMA,
    )
    _constrain_failures("last_status IN ('failed', 'api_unavailable', 'inconsistent_data')")
    op.create_check_constraint(
        op.f("ck_processes_somebody_asked_to_abort"),
        "processes",
        "(abort_requested_at IS NULL) = (abort_requested_by IS NULL)",
        schema=SCHEMA,
    )
    op.create_index(
        "ix_processes_parent_process_id",
        "processes",
        ["parent_process_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("parent_process_id IS NOT NULL"),
    )
    op.create_index(
        "ix_processes_queued",
        "processes",
        ["started_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("last_status IN ('created', 'resumed')"),
    )


def _restore_processes() -> None:
    op.execute(_LET_WAITING_PROCESSES_FAIL)
    _comment_on("processes", "plan", "the steps of its workflow when it was started")
    op.drop_index("ix_processes_queued", "processes", schema=SCHEMA)
    op.drop_constraint(op.f("ck_processes_somebody_asked_to_abort"), "processes", schema=SCHEMA)
    _constrain_failures("last_status = 'failed'")
    for column in ("seen_at", "abort_reason", "abort_requested_by", "abort_requested_at", "parent_process_id"):
        op.drop_column("processes", column, schema=SCHEMA)


def _constrain_failures(is_failed: str) -> None:
    name = op.f("ck_processes_failed_has_a_reason")
    op.drop_constraint(name, "processes", schema=SCHEMA)
    op.create_check_constraint(name, "processes", f"({is_failed}) <= (failed_reason IS NOT NULL)", schema=SCHEMA)


def _extend_steps() -> None:
    for column in (
        sa.Column(
            "branch",
            sa.Text,
            nullable=False,
            server_default=sa.text("''"),
            comment="the branch it is in, as in parallel[0]",
        ),
        sa.Column(
            "round",
            sa.SmallInteger,
            nullable=False,
            server_default=sa.text("1"),
            comment="goes up when the steps of a group start again",
        ),
        sa.Column("detail", JSON, comment="what else is to be known of it, such as the items of a foreach"),
    ):
        op.add_column("process_steps", column, schema=SCHEMA)
    _comment_on("process_steps", "step", "key of the step: its op's handle in the job, in a foreach with the index")
    _finished_once("process_id", "step", "round")


def _restore_steps() -> None:
    op.execute(_TELL_ROUNDS_BY_KEY)
    _finished_once("process_id", "step")
    _comment_on("process_steps", "step", "key of the step: its op's handle in the job")
    for column in ("detail", "round", "branch"):
        op.drop_column("process_steps", column, schema=SCHEMA)


def _comment_on(table: str, column: str, comment: str | None) -> None:
    op.alter_column(table, column, comment=comment, schema=SCHEMA)


def _finished_once(*columns: str) -> None:
    op.drop_index("uq_process_steps_finished_once", "process_steps", schema=SCHEMA)
    op.create_index(
        "uq_process_steps_finished_once",
        "process_steps",
        list(columns),
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text(_FINISHED),
    )


def _create_waits() -> None:
    op.create_table(
        "process_waits",
        sa.Column("process_id", sa.Uuid, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, comment="title of the step"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("branch", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("status", sa.Text, comment="where the process stands because of it, where its kind doesn't say that"),
        sa.Column("assignee", sa.Text, nullable=False, server_default="SYSTEM"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), comment="when it goes on by itself, or when it is too late"),
        sa.Column("waits_for", sa.Uuid, comment="the process that it waits for"),
        sa.Column("form", JSON, comment="schema of the first page that is to be answered"),
        sa.Column("reason", sa.Text, comment="why it failed, or is tried again"),
        sa.Column("traceback", sa.Text),
        sa.Column("ready_at", sa.DateTime(timezone=True), comment="when what it waits for was there"),
        sa.Column("answer", JSON, comment="what the answer adds to the state"),
        sa.Column("given", JSON, comment="the answer as it was given"),
        sa.Column("answered_by", sa.Text),
        sa.CheckConstraint(
            "kind IN ('input', 'callback', 'time', 'retry', 'process', 'failure')", name=op.f("ck_process_waits_kind")
        ),
        _of_process("process_waits"),
        sa.PrimaryKeyConstraint("process_id", "step", name="pk_process_waits"),
        schema=SCHEMA,
        comment="the steps that were reached and are not finished, and what they wait for",
    )
    for column, condition in {
        "due_at": "ready_at IS NULL AND due_at IS NOT NULL",
        "waits_for": "waits_for IS NOT NULL",
    }.items():
        op.create_index(
            f"ix_process_waits_{column}",
            "process_waits",
            [column],
            schema=SCHEMA,
            postgresql_where=sa.text(condition),
        )


def _create_callbacks() -> None:
    op.create_table(
        "process_callbacks",
        sa.Column("process_id", sa.Uuid, nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False, comment="sha256 of the token in the address"),
        sa.Column("step", sa.Text, nullable=False, comment="key of the step that awaits it"),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True)),
        sa.Column("body", JSON, comment="what the other system sent"),
        sa.Column("progress", JSON, comment="how far the other system says that it is"),
        sa.Column("progress_at", sa.DateTime(timezone=True)),
        sa.Column("closed_at", sa.DateTime(timezone=True), comment="when it was not waited for any more"),
        _of_process("process_callbacks"),
        sa.PrimaryKeyConstraint("process_id", "token_hash", name="pk_process_callbacks"),
        schema=SCHEMA,
        comment="the addresses at which processes wait for other systems",
    )
    op.create_index(
        "uq_process_callbacks_open",
        "process_callbacks",
        ["process_id", "step"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("closed_at IS NULL"),
    )


def _of_process(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["process_id"], [f"{SCHEMA}.processes.process_id"], name=op.f(f"fk_{table}_process_id"), ondelete="CASCADE"
    )


def _extend_inputs_and_settings() -> None:
    op.add_column(
        "process_inputs",
        sa.Column("step", sa.Text, comment="the step that asked for it; null for the input that started the process"),
        schema=SCHEMA,
    )
    _comment_on("engine_settings", "global_lock", "whether it is paused")
    for column in (
        sa.Column("changed_at", sa.DateTime(timezone=True), comment="when it was paused or resumed last"),
        sa.Column("changed_by", sa.Text),
        sa.Column("reason", sa.Text),
    ):
        op.add_column("engine_settings", column, schema=SCHEMA)
