"""The step log holds what changed inside values, not the values again.

Revision 0002, after 0001.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

from orchestrator_dagster.domain.difference import Difference

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"

process_steps = sa.table(
    "process_steps",
    sa.column("step_id", sa.BigInteger),
    sa.column("process_id", sa.Uuid),
    sa.column("changes", JSON),
    sa.column("edits", JSON),
    schema=SCHEMA,
)
process_inputs = sa.table(
    "process_inputs",
    sa.column("process_id", sa.Uuid),
    sa.column("input_type", sa.Text),
    sa.column("state", JSON),
    schema=SCHEMA,
)


def upgrade() -> None:
    """Add a column; rows that have nothing in it are read as before."""
    op.add_column(
        "process_steps",
        sa.Column(
            "edits",
            JSON(none_as_null=True),
            nullable=True,
            comment="what the step changed inside values that the state had already, by key",
        ),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Write the values whole again, and drop the column."""
    connection = op.get_bind()
    edited = sa.select(process_steps.c.process_id).where(process_steps.c.edits.is_not(None)).distinct()
    for process_id in connection.scalars(edited).all():
        _write_whole(connection, process_id)
    op.drop_column("process_steps", "edits", schema=SCHEMA)


def _write_whole(connection: sa.Connection, process_id: Any) -> None:
    of_process = process_inputs.c.process_id == process_id
    is_first = process_inputs.c.input_type == "initial_state"
    state = connection.execute(sa.select(process_inputs.c.state).where(of_process, is_first)).scalar_one()
    rows = sa.select(process_steps).where(process_steps.c.process_id == process_id).order_by(process_steps.c.step_id)
    for row in connection.execute(rows).all():
        step = Difference(row.changes, row.edits or {})
        state = step.applied_to(state)
        if row.edits:
            whole = {key: state[key] for key in step.keys}
            connection.execute(
                sa.update(process_steps).where(process_steps.c.step_id == row.step_id).values(changes=whole)
            )
