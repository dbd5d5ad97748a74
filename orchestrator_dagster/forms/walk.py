"""Walking a form with input that was given all at once.

A form generator shows its next page only after the previous one was answered. Here all answers are there from the
start, flat or page by page, and whoever gave them wants to hear of every mistake at once. So the walk goes on after a
page that is not valid: the generator gets that page's values as they were given, and where it cannot go on with them
the walk says that it stopped there.
"""

import contextlib
import difflib
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator_dagster.domain.secret import AnySecret, Hiding, hiding
from orchestrator_dagster.domain.state import InputForm, State
from orchestrator_dagster.errors import FieldError, InputError, RefusalError
from orchestrator_dagster.forms.page import field_names, page_title
from orchestrator_dagster.forms.secret_fields import Path, clear_error, fields_in_clear, open_input, seal_at

PAGES = "pages"
REPEATED_FIELD = "repeated_field"
_MOST_PAGES = 250


@dataclass(frozen=True)
class Page:
    """One page that the walk came by.

    Attributes:
        model: the page's class.
        given: the part of the input that it took, as given.
        valid: whether that was valid.
    """

    model: type[BaseModel]
    given: Mapping[str, Any]
    valid: bool


@dataclass
class FormWalk:
    """Where a walk through a form led.

    Attributes:
        pages: the pages in order.
        errors: what is wrong, over all pages.
        stopped: why the walk ended before the last page, if it did.
        result: what the form returned; meaningful without errors only.
        in_clear: where the input has secrets in clear.
        unchecked: where it has what no page took.
    """

    pages: list[Page] = field(default_factory=list)
    errors: list[FieldError] = field(default_factory=list)
    stopped: str | None = None
    result: State = field(default_factory=dict)
    in_clear: list[Path] = field(default_factory=list)
    unchecked: list[Path] = field(default_factory=list)
    _secrets: list[AnySecret] = field(default_factory=list, repr=False)

    @property
    def valid(self) -> bool:
        """Whether the form took all of the input."""
        return not self.errors and self.stopped is None

    def sealed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the input that was walked with, so that it may be stored: secrets that it has in clear are sealed."""
        return seal_at(given, self.in_clear)

    def require_no_clear_secrets(self, workflow: str) -> None:
        """Make sure that the input has no secret in clear, as run config must not.

        Raises:
            InputError: it has one; whatever else is wrong is told as well.
        """
        if self.in_clear:
            errors = [*map(clear_error, self.in_clear), *self.errors]
            raise InputError(workflow=workflow, errors=errors, stopped=self.stopped)

    @property
    def hide(self) -> Hiding:
        """What hides the secrets of the pages so far."""
        return hiding(self._secrets)

    def learn(self, secrets: Sequence[AnySecret]) -> None:
        """Hide more secrets from now on."""
        self._secrets += secrets


def walk(form: InputForm, given: Mapping[str, Any], outcome: FormWalk | None = None) -> FormWalk:
    """Answer all pages of `form` from `given`.

    Args:
        form: one page, or a function without (further) arguments that yields pages or returns one.
        given: the fields of all pages side by side; or `{"pages": [{...}, {...}]}`, page by page. Secrets are sealed,
            in the environment, or in clear.
        outcome: where to note how far it comes, for who wants to know that although it fails.

    Raises:
        RefusalError: the form itself failed on input that was valid so far.

    Example:
        >>> class SitePage(BaseModel):
        ...     site: str
        >>> [error.path for error in walk(SitePage, {"sight": "Amsterdam"}).errors]
        ['site', 'sight']
    """
    answers = _PagedAnswers(given) if PAGES in given and isinstance(given[PAGES], list) else _FlatAnswers(given)
    outcome = FormWalk() if outcome is None else outcome
    generator = pages_of(form if isinstance(form, type) else form())
    answer: BaseModel | None = None
    try:
        while True:
            page = _next_page(generator, answer, outcome)
            if len(outcome.pages) == _MOST_PAGES:
                outcome.stopped = f"Checking stopped after {_MOST_PAGES} pages: the form does not end with this input"
                break
            try:
                raw = answers.take(page, len(outcome.pages))
            except _RepeatedFieldError as repeated:
                outcome.errors.append(repeated.error)
                outcome.stopped = f"Checking stopped at page {len(outcome.pages) + 1}, {page_title(page)}"
                break
            answer = _answer(page, raw, answers.path(len(outcome.pages)), outcome)
    except StopIteration as end:
        outcome.result = {} if outcome.errors else require_result(end.value)
    except _CannotGoOnError as error:
        outcome.stopped = str(error)
    except BaseException:
        outcome.unchecked += [error.loc for error in answers.left(len(outcome.pages))]
        raise
    finally:
        with contextlib.suppress(RuntimeError):  # a form that catches everything cannot be closed
            generator.close()
    left = answers.left(len(outcome.pages))
    outcome.unchecked += [error.loc for error in left]
    if outcome.stopped is None:
        outcome.errors += left
    elif left:
        outcome.stopped += f"; not checked: {', '.join(error.path for error in left)}"
    return outcome


class _CannotGoOnError(Exception):
    """The generator failed on values that were not valid."""


class _RepeatedFieldError(Exception):
    def __init__(self, error: FieldError) -> None:
        self.error = error
        super().__init__(error.msg)


def pages_of(made: type[BaseModel] | Generator[type[BaseModel], Any, Any]) -> Generator[type[BaseModel], Any, Any]:
    """Yield the pages of a form, whether it is one page or a generator of pages, and return what it returns."""
    if isinstance(made, type):
        answer = yield made
        return answer.model_dump()
    return (yield from made)


def _next_page(
    generator: Generator[type[BaseModel], Any, Any], answer: BaseModel | None, outcome: FormWalk
) -> type[BaseModel]:
    if all(page.valid for page in outcome.pages):
        try:
            return _require_page(generator.send(answer))
        except (StopIteration, RefusalError):
            raise
        except Exception as error:
            message = f"The form failed after page {len(outcome.pages)}: {_say(error)}"
            raise RefusalError(outcome.hide.text(message)) from outcome.hide.cause(error)
    try:
        with warnings.catch_warnings():
            # pydantic warns when a page that holds values of wrong types is dumped, which is what happens here
            warnings.simplefilter("ignore")
            return _require_page(generator.send(answer))
    except StopIteration:
        raise
    except Exception as error:
        number, page = len(outcome.pages), page_title(outcome.pages[-1].model)
        message = f"Checking stopped after page {number}, {page}: {_say(error)}"
        raise _CannotGoOnError(outcome.hide.text(message)) from error


def require_result(returned: object) -> State:
    """Return what a form returned, if that is a dict or nothing; raise `RefusalError` otherwise."""
    if returned is None or isinstance(returned, dict):
        return returned or {}
    raise RefusalError(f"A form must return a dict, and returned {type(returned).__name__}")


def _require_page(yielded: object) -> type[BaseModel]:
    if isinstance(yielded, type) and issubclass(yielded, BaseModel):
        return yielded
    raise RefusalError(f"A form must yield page classes, and yielded {yielded!r}")


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _answer(page: type[BaseModel], raw: Any, path: tuple[str | int, ...], outcome: FormWalk) -> BaseModel:
    if not isinstance(raw, Mapping):
        outcome.errors.append(FieldError(path, "must be a mapping of fields", "model_type"))
        outcome.pages.append(Page(page, {}, valid=False))
        return page.model_construct()
    opened = open_input(page, raw)
    outcome.learn(opened.secrets)
    answer, wrong = _validated(page, opened.values, outcome)
    missing = {error.loc for error in opened.errors}
    errors = [*opened.errors, *(error for error in wrong if error.loc not in missing)]
    for error in errors:
        loc = (*path, *error.loc) or (page.__name__,)
        outcome.errors.append(FieldError(loc, outcome.hide.text(error.msg), error.type))
        if error.type == "extra_forbidden":
            outcome.unchecked.append(loc)
    outcome.pages.append(Page(page, raw, valid=not errors))
    outcome.in_clear += [(*path, name) for name in fields_in_clear(page, raw, None if errors else answer)]
    return answer


def _validated(
    page: type[BaseModel], given: Mapping[str, Any], outcome: FormWalk
) -> tuple[BaseModel, list[FieldError]]:
    """Return a page of what was given, and what is wrong with it."""
    try:
        return page(**given), []
    except ValidationError as error:
        return _field_by_field(page, given)[0], [_field_error(page, details) for details in error.errors()]
    except Exception as error:
        # a validator failed in another way, as they do on the value of a field that is wrong itself
        answer, wrong = _field_by_field(page, given)
        if wrong:
            return answer, wrong
        message = outcome.hide.text(f"at page {len(outcome.pages) + 1}, {page_title(page)}: {_say(error)}")
        if outcome.errors:
            raise _CannotGoOnError(f"Checking stopped {message}") from error
        raise RefusalError(f"The form failed {message}") from outcome.hide.cause(error)


def _field_error(page: type[BaseModel], details: Any) -> FieldError:
    loc = tuple(details["loc"])
    if details["type"] == "extra_forbidden" and len(loc) == 1:
        return _unknown_field(loc, field_names(page))
    return FieldError(loc, _message(details), details["type"])


def _message(details: Any) -> str:
    cause = details.get("ctx", {}).get("error")
    return str(cause) if isinstance(cause, ValueError) else str(details["msg"])


def _field_by_field(page: type[BaseModel], raw: Mapping[str, Any]) -> tuple[BaseModel, list[FieldError]]:
    """Return a page of what was given, converted where a field alone is valid, and what is wrong with its fields."""
    names = field_names(page)
    answer = page.model_construct(**{names[key]: value for key, value in raw.items() if key in names})
    wrong = [
        FieldError((key,), "Field required", "missing")
        for key, name in names.items()
        if page.model_fields[name].is_required() and not any(other in raw for other in names if names[other] == name)
    ]
    for key in (key for key in raw if key in names):
        try:
            page.__pydantic_validator__.validate_assignment(answer, names[key], raw[key])
        except ValidationError as error:
            wrong += [
                FieldError(details["loc"], _message(details), details["type"])
                for details in error.errors()
                if details["loc"] and details["loc"][0] in (key, names[key])
            ]
        except Exception:  # noqa: S112 - validators may fail in any way on a page that is half filled
            continue
    return answer, wrong


class _FlatAnswers:
    """All fields of all pages side by side."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._page_of: dict[str, str] = {}

    def take(self, page: type[BaseModel], _number: int) -> Mapping[str, Any]:
        names = field_names(page)
        for name in names:
            if name in self._page_of:
                message = (
                    f"stands on more than one page ({self._page_of[name]}, {page_title(page)}): "
                    "give the input page by page, as `pages: [{...}, {...}]`"
                )
                raise _RepeatedFieldError(FieldError((name,), message, REPEATED_FIELD))
        self._page_of.update(dict.fromkeys(names, page_title(page)))
        return {name: self._given[name] for name in names if name in self._given}

    def path(self, _number: int) -> tuple[str | int, ...]:
        return ()

    def left(self, _number: int) -> list[FieldError]:
        return [_unknown_field((name,), self._page_of) for name in self._given if name not in self._page_of]


class _PagedAnswers:
    """The input page by page; fields of the first page may stand beside `pages`."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        beside = {name: value for name, value in given.items() if name != PAGES}
        self._offset = 1 if beside else 0
        self._pages: Sequence[Any] = [beside, *given[PAGES]] if beside else given[PAGES]
        self._untaken: list[FieldError] = []

    def take(self, page: type[BaseModel], number: int) -> Any:
        raw = self._pages[number] if number < len(self._pages) else {}
        if isinstance(raw, Mapping) and page.model_config.get("extra", "ignore") == "ignore":
            names = field_names(page)
            self._untaken += [_unknown_field((*self.path(number), name), names) for name in raw if name not in names]
        return raw

    def path(self, number: int) -> tuple[str | int, ...]:
        return (PAGES, number - self._offset) if number >= self._offset else ()

    def left(self, number: int) -> list[FieldError]:
        return self._untaken + [
            FieldError(self.path(extra), f"is one too many: the form has {number} pages with this input", "extra_page")
            for extra in range(number, len(self._pages))
        ]


def _unknown_field(loc: tuple[str | int, ...], known: Mapping[str, str]) -> FieldError:
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return FieldError(loc, f"is not a field of the form{hint}", "extra_forbidden")
