"""The step log holds what changed inside values, not the values again.

Revision 0002, after 0001.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

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
        edits = row.edits or {}
        state = {**state, **{key: _edited(state[key], edit) for key, edit in edits.items()}, **row.changes}
        if edits:
            whole = {key: state[key] for key in (*row.changes, *edits)}
            connection.execute(
                sa.update(process_steps).where(process_steps.c.step_id == row.step_id).values(changes=whole)
            )


# What edits mean at this revision. The package's own way of reading them may change; what this revision wrote does not.


def _edited(value: Any, edit: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return _edited_list(value, edit)
    kept = {key: item for key, item in value.items() if key not in edit.get("drop", ())}
    inside = {key: _edited(value[key], inner) for key, inner in edit.get("edit", {}).items()}
    result = {**kept, **inside, **edit.get("set", {})}
    return {key: result[key] for key in edit["order"]} if "order" in edit else result


def _edited_list(value: list[Any], edit: dict[str, Any]) -> list[Any]:
    result = list(value)
    for index, inner in edit.get("edit", {}).items():
        result[int(index)] = _edited(value[int(index)], inner)
    for index, item in edit.get("set", {}).items():
        result[int(index)] = item
    if "at" in edit:
        result[edit["at"] : edit["at"] + edit["drop"]] = edit["put"]
    return result
