"""What a process learned about a database and need not ask again."""

import functools
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Engine


class OnEngine(Protocol):
    """A storage."""

    _engine: Engine


P = ParamSpec("P")
S = TypeVar("S", bound=OnEngine)

_answered_yes: "weakref.WeakKeyDictionary[Engine, set[tuple[Any, ...]]]" = weakref.WeakKeyDictionary()


def lasting(ask: Callable[Concatenate[S, P], bool]) -> Callable[Concatenate[S, P], bool]:
    """Ask until the answer is yes, once a process. For tables and columns: Dagster adds some, and takes none away.

    Dagster reads the columns of a table from the catalogue of Postgres for each run that it creates, each status that
    it writes and each run that it shows.
    """

    @functools.wraps(ask)
    def answer(storage: S, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        known = _answered_yes.setdefault(storage._engine, set())
        question = (type(storage), ask.__name__, *args, *kwargs.values())
        if question not in known:
            if not ask(storage, *args, **kwargs):
                return False
            known.add(question)
        return True

    return answer
