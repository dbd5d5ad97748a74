"""Validation of active subscriptions, each once in a period."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import dagster as dg

from orchestrator_dagster.db.due import subscriptions_due_for_validation
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import DefinitionError
from orchestrator_dagster.jobs.catalogue import DatabaseCatalogue
from orchestrator_dagster.jobs.tags import TARGET
from orchestrator_dagster.resources.database import DATABASE

_INTERVAL_SECONDS = 60
_MOST_AT_ONCE = 50


def validation_sensor(
    jobs: Sequence[dg.JobDefinition], every: timedelta, catalogue: DatabaseCatalogue
) -> dg.SensorDefinition:
    """Return the sensor that requests a run of its product's validate workflow for each subscription that is due.

    A subscription is due when it is active, no process works on it, and none of its validations was started within
    the period. A limited number is requested at each tick; the next tick goes on after them.

    Args:
        jobs: the jobs of all workflows.
        every: the period.
        catalogue: makes sure that the database goes together with the code before anything is requested.

    Raises:
        DefinitionError: the period is not positive.
    """
    if every <= timedelta(0):
        raise DefinitionError(f"Validation every {every} is not possible")

    validations = [job for job in jobs if job.tags.get(TARGET) == Target.VALIDATE]

    def validate_subscriptions(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = datetime.now(UTC)
        engine = getattr(context.resources, DATABASE).engine
        catalogue.make_ready(engine)
        with engine.connect() as connection:
            due = subscriptions_due_for_validation(
                connection,
                workflow_names=[job.name for job in validations],
                since=now - every,
                after=UUID(context.cursor) if context.cursor else None,
                limit=_MOST_AT_ONCE,
            )
        context.update_cursor(str(due[-1].subscription_id) if len(due) == _MOST_AT_ONCE else "")
        period = int(now.timestamp() // every.total_seconds())
        for subscription in due:
            yield dg.RunRequest(
                run_key=f"{subscription.workflow}:{subscription.subscription_id}:{period}",
                job_name=subscription.workflow,
                run_config={"subscription_id": str(subscription.subscription_id)},
            )
        if not due:
            yield dg.SkipReason(f"No active subscription is due: each is validated every {every}")

    return dg.SensorDefinition(
        name="validate_subscriptions",
        description=f"Validates each active subscription every {every}, by its product's validate workflow.",
        evaluation_fn=validate_subscriptions,
        jobs=validations,
        minimum_interval_seconds=min(_INTERVAL_SECONDS, max(1, int(every.total_seconds()))),
        required_resource_keys={DATABASE},
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
