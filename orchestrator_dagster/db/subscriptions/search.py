"""The language of full-text search, turned into what Postgres searches for.

Words have to be there all of them, `"several words"` in that order, `-word` must not be there, `one | other` wants one
of both, `pre*` the beginning of a word, and parentheses group. Nothing that people type is wrong: what makes no sense,
such as a parenthesis that is never closed, is read as if it did.
"""

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import TSQUERY

from orchestrator_dagster.db.tables import subscription_search
from orchestrator_dagster.domain.exact import is_storable_text

_TOKEN = re.compile(r'(?P<open>-?\()|(?P<close>\))|(?P<or>\|)|(?P<phrase>-?"[^"]*"?)|(?P<word>[^\s()|"]+)')

# The same as `orchestrator.search_document` takes for the marks between words
_BETWEEN_WORDS = re.compile(r"[\s!-/:-@\[-`{-~–—‘’“”…]+")  # noqa: RUF001 - typographic marks are meant


@dataclass(frozen=True)
class Search:
    """What is searched for, as Postgres reads it.

    Attributes:
        words: the query of words and of phrases, for `to_tsquery`.
        pairs: words that have to stand together, as the documents have them; empty where there are none.
    """

    words: str
    pairs: str

    @classmethod
    def of(cls, text: str | None) -> "Search | None":
        """Read what was typed; `None` if there is no word in it, which asks for nothing.

        Example:
            >>> Search.of('ams-core -(spare | "old stock") 10g*')
            Search(words="'ams' <-> 'core' & !('spare' | 'old' <-> 'stock') & '10g':*", pairs="' ams core'")
        """
        groups = [_Group()]
        for token in _TOKEN.finditer(_storable(text or "")):
            _add(groups, token.lastgroup or "", token.group())
        while len(groups) > 1:
            _close(groups)
        words = groups[0].written
        return cls(words, " & ".join(groups[0].pairs)) if words else None

    @property
    def query(self) -> ColumnElement[Any]:
        """The query in SQL."""
        words = func.to_tsquery(literal_column("'simple'"), self.words)
        return words.op("&&")(cast(func.lower(self.pairs), TSQUERY)) if self.pairs else words


def documents_with(search: Search) -> Select[Any]:
    """Return what selects the documents that have what is searched for."""
    documents = subscription_search.c
    return select(documents.subscription_id.label("id")).where(documents.document.bool_op("@@")(search.query))


def has_words(search: Search, subscription: FromClause) -> ColumnElement[bool]:
    """Return the condition that a subscription has what is searched for.

    Its document is looked up by its id: `OFFSET 0` keeps Postgres from looking up all that have the words.

    Args:
        search: what is searched for.
        subscription: what has the `subscription_id`.
    """
    is_its = subscription_search.c.subscription_id == subscription.c.subscription_id
    return documents_with(search).where(is_its).offset(0).correlate(subscription).exists()


@dataclass
class _Group:
    """What stands between two parentheses: alternatives, and what each of them asks for."""

    negated: bool = False
    alternatives: list[list[str]] = field(default_factory=lambda: [[]])
    all_pairs: list[str] = field(default_factory=list)

    def add(self, written: str, *, negated: bool) -> None:
        if written and negated:
            written = f"!({written})" if " " in written else f"!{written}"
        if written:
            self.alternatives[-1].append(written)

    @property
    def is_choice(self) -> bool:
        return sum(map(bool, self.alternatives)) > 1

    @property
    def written(self) -> str:
        return " | ".join(" & ".join(items) for items in self.alternatives if items)

    @property
    def pairs(self) -> list[str]:
        """The pairs that are needed whatever the alternatives."""
        return [] if self.is_choice else self.all_pairs


def _add(groups: list[_Group], kind: str, found: str) -> None:
    negated = found.startswith("-")
    if kind == "open":
        groups.append(_Group(negated=negated))
    elif kind == "close":
        if len(groups) > 1:
            _close(groups)
    elif kind == "or":
        groups[-1].alternatives.append([])
    else:
        tokens = [[word for word in _BETWEEN_WORDS.split(token) if word] for token in found.split()]
        beginning = ":*" if found.endswith("*") else ""
        words = [f"'{word}'" for token in tokens for word in token]
        groups[-1].add(" <-> ".join(words) + beginning if words else "", negated=negated)
        if not negated:
            pairs = [f"' {one} {other}'" for token in tokens for one, other in pairwise(token)]
            groups[-1].all_pairs += [*pairs[:-1], pairs[-1] + beginning] if pairs else []


def _close(groups: list[_Group]) -> None:
    group = groups.pop()
    written = f"({group.written})" if group.is_choice and not group.negated else group.written
    groups[-1].add(written, negated=group.negated)
    if not group.negated:
        groups[-1].all_pairs += group.pairs


def _storable(text: str) -> str:
    if is_storable_text(text):
        return text
    return "".join(character if is_storable_text(character) else " " for character in text)
