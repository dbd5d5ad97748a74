"""What Dagit's Launchpad shows of a form before it runs: the fields that are known, and nothing it would refuse.

Dagster checks run config against its schema before the run exists and reports only what it finds itself. The form's
own check reports everything at once, so the schema here is for reading: every field is optional and takes any value.
"""

from collections.abc import Sequence

import dagster as dg
from dagster import ConfigMapping
from dagster._config import ConfigType, ConfigTypeKind
from dagster._config.field_utils import FIELD_NO_DEFAULT_PROVIDED
from pydantic import BaseModel

from orchestrator_dagster.forms.describe import FieldDescription, describe_fields
from orchestrator_dagster.forms.walk import PAGES


class _ShownType(ConfigType):
    """A config type that shows what a form wants and accepts everything."""

    def __init__(self, shown: str) -> None:
        super().__init__(key=f"Form.{shown}", given_name=shown, kind=ConfigTypeKind.ANY)


def launchpad_config(pages: Sequence[type[BaseModel]], *, log_level: str = "DEBUG") -> ConfigMapping:
    """Return the config mapping of a job whose run config is a form.

    Args:
        pages: the pages that are known without running the form.
        log_level: from which level on the console shows what Dagster logs. The event log has everything.
    """
    loggers = {"loggers": {"console": {"config": {"log_level": log_level}}}}
    fields = {
        field.name: dg.Field(
            _ShownType(field.type),
            is_required=False,
            default_value=FIELD_NO_DEFAULT_PROVIDED if field.default is None else field.default,
            description=_description(field),
        )
        for page in pages
        for field in describe_fields(page)
    }
    fields[PAGES] = dg.Field(
        _ShownType("list of pages"),
        is_required=False,
        description="The input page by page, for forms where pages share field names or repeat.",
    )
    return ConfigMapping(config_fn=lambda _: loggers, config_schema=dg.Permissive(fields))  # type: ignore[no-untyped-call]


def _description(field: FieldDescription) -> str:
    needed = "Required" if field.required else "Optional"
    return f"{needed}; {field.text}" if field.text else needed
