"""Users' code and mypy: what is right passes with the settings that the docs give, and what is wrong does not."""

import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from golden_example import REPOSITORY, golden_folder

DATA = REPOSITORY / "tests" / "data"
SETTINGS = DATA / "user_mypy.ini"
MISTAKES = DATA / "user_mistakes.py"
SHAPES = DATA / "user_shapes.py"
ERROR = re.compile(r"^(?P<file>.+?):(?P<line>\d+): error: (?P<text>.*)\[(?P<code>[a-z-]+)\]$", re.MULTILINE)

Errors = dict[Path, list[tuple[int, str, str]]]


@pytest.fixture(scope="module")
def errors(request: pytest.FixtureRequest) -> Errors:
    """What mypy finds in golden, in the example and in the mistakes, by file."""
    golden = golden_folder()
    examples = REPOSITORY / "examples"
    command = [sys.executable, "-m", "mypy", "--config-file", SETTINGS, "--python-version", "3.11"]
    command += ["--show-error-codes", "--show-absolute-path", "--no-pretty", "--no-error-summary"]
    command += ["--cache-dir", request.config.cache.mkdir("mypy-of-users")]
    command += ["-p", "golden", "-p", "examples", "-m", MISTAKES.stem, "-m", SHAPES.stem]
    finished = subprocess.run(
        list(map(str, command)),
        cwd=DATA,  # so that mypy finds no settings but those
        env={**os.environ, "MYPYPATH": os.pathsep.join(map(str, [golden, REPOSITORY, DATA]))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode in (0, 1), finished.stdout + finished.stderr
    assert examples.is_dir()
    found: Errors = {}
    for match in ERROR.finditer(finished.stdout):
        where = found.setdefault(Path(match["file"]), [])
        where.append((int(match["line"]), match["text"].strip(), match["code"]))
    return found


def within(errors: Errors, folder: Path) -> Errors:
    return {file: found for file, found in errors.items() if file.is_relative_to(folder)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("module", ["controller", "products", "workflows", "definitions"])
def test_golden_passes(errors: Errors, module: str) -> None:
    assert within(errors, golden_folder() / "golden" / f"{module}.py") == {}


def test_the_walkthrough_passes_but_for_the_part_that_suspends(errors: Errors) -> None:
    (found,) = within(errors, golden_folder() / "golden" / "walkthrough.py").values() or [[]]
    assert [error for error in found if '"form"' not in error[1] and '"resume"' not in error[1]] == []


def test_the_example_passes(errors: Errors) -> None:
    assert within(errors, REPOSITORY / "examples") == {}


def test_all_of_the_workflow_language_passes(errors: Errors) -> None:
    assert within(errors, SHAPES) == {}


def test_every_mistake_of_a_user_is_found_and_nothing_else(errors: Errors) -> None:
    marked = {
        number: mark[1]
        for number, line in enumerate(MISTAKES.read_text().splitlines(), 1)
        if (mark := re.search(r"# mistake: ([a-z-]+)$", line))
    }
    assert len(marked) >= 10
    assert {line: code for line, _, code in errors.get(MISTAKES, [])} == marked


def test_an_unknown_field_of_a_block_is_named(errors: Errors) -> None:
    assert any("NodeBlock" in text and "sight" in text for _, text, _ in errors.get(MISTAKES, []))


def test_these_are_the_settings_that_the_docs_give() -> None:
    docs = (REPOSITORY / "docs" / "writing-workflows.md").read_text()
    (block,) = re.findall(r"```toml\n(\[tool\.mypy\].*?)```", docs, re.DOTALL)
    documented = tomllib.loads(block)["tool"]["mypy"]
    ours = configparser.ConfigParser()
    ours.read(SETTINGS)

    def as_text(settings: dict[str, object]) -> dict[str, str]:
        return {
            key: ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
            for key, value in settings.items()
        }

    overrides = documented.pop("overrides", [])
    assert as_text(documented) == dict(ours["mypy"])
    assert {f"mypy-{','.join(override.pop('module'))}": as_text(override) for override in map(dict, overrides)} == {
        name: dict(ours[name]) for name in ours.sections() if name != "mypy"
    }
