"""`orchestrator-dagster form`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from orchestrator_dagster.cli.code import code_options, load_orchestrator
from orchestrator_dagster.errors import RefusalError
from orchestrator_dagster.forms.describe import FieldDescription, describe_fields
from orchestrator_dagster.forms.page import page_title
from orchestrator_dagster.forms.walk import PAGES, REPEATED_FIELD, FormWalk
from orchestrator_dagster.jobs.start import try_start_form
from orchestrator_dagster.jobs.workflow import Workflow


@click.command
@click.argument("workflow")
@click.option(
    "--input",
    "input_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with what is known already; later pages may depend on it.",
)
@code_options
def form(
    workflow: str,
    input_file: Path | None,
    module_name: str | None,
    python_file: Path | None,
    workspace: Path | None,
) -> None:
    """Show what WORKFLOW asks for, page by page, and a run config to fill in.

    The output is YAML: save it, fill it in, and give it to `dagster job execute -c`.
    """
    orchestrator = load_orchestrator(module_name, python_file, workspace)
    found = orchestrator.workflow(workflow)
    given = yaml.safe_load(input_file.read_text()) or {} if input_file else {}
    if not isinstance(given, Mapping):
        raise RefusalError(f"{input_file} must be a mapping of fields")
    engine = orchestrator.database.engine
    walked = try_start_form(engine, found, given)
    if any(error.type == REPEATED_FIELD for error in walked.errors):
        # flat input cannot answer this form: show it page by page, with what was given for the first page
        given = {**walked.pages[0].given, PAGES: []}
        walked = try_start_form(engine, found, given)
    click.echo("\n".join(_run_config(found, walked, given)))


def _run_config(workflow: Workflow, walked: FormWalk, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a commented run config."""
    yield f"# {workflow.name}: {' '.join(workflow.description.split())}"
    names = [field.name for page in walked.pages for field in describe_fields(page.model)]
    paged = PAGES in given or len(names) != len(set(names))
    if paged:
        yield "pages:"
    for number, page in enumerate(walked.pages, 1):
        yield ""
        yield f"# Page {number}: {page_title(page.model)}"
        lines = [line for field in describe_fields(page.model) for line in _field(field, page.given)]
        yield from _as_item(lines) if paged else lines
    problems = [error for error in walked.errors if error.path and error.type != "missing"]
    if problems and given:
        yield ""
        yield "# Not valid in the input that was given:"
        yield from (f"#   {error.path}: {error.msg}" for error in problems)
    if walked.stopped:
        yield ""
        yield from (f"# {line}" for line in walked.stopped.splitlines())
        yield "# Give what is known with --input to see the pages that follow."
    elif not walked.pages:
        yield "{}  # asks for nothing"


def _field(field: FieldDescription, given: Mapping[str, Any]) -> Iterator[str]:
    about = "; ".join(filter(None, (field.type, "required" if field.required else "optional", field.text)))
    yield f"# {about}"
    # words such as `on` and `no` would be read as something else than text
    key = field.name if yaml.safe_load(field.name) == field.name else json.dumps(field.name)
    if field.name in given:
        yield f"{key}: {json.dumps(given[field.name], default=str)}"
    elif field.required:
        yield f"{key}: null"
    else:
        yield f"# {key}: {json.dumps(field.default)}"


def _as_item(lines: list[str]) -> Iterator[str]:
    """Yield lines as one item of a YAML list."""
    if not any(not line.startswith("#") for line in lines):
        yield from (f"    {line}" for line in lines)
        yield "  - {}"
        return
    marker = "  - "
    for line in lines:
        if line.startswith("#"):
            yield f"    {line}"
        else:
            yield f"{marker}{line}"
            marker = "    "
