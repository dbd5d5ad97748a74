"""The type of a field as text that stays the same while the type does: what the catalogue compares and shows.

Two types are told apart by what their values may be: the members of an enum, the fields of a model and the constraints
are in the text. What only code can tell, such as the body of a validator, is not. How pydantic writes its constraints
down is not either, lest another version of it makes all texts differ.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType

from orchestrator_dagster.domain.stored import Stored

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_NONE = "None"
_ANY = "Any"
_OR = " | "


def type_text(annotation: Any) -> str:
    """Return the text of a type.

    Example:
        >>> from annotated_types import Ge
        >>> type_text(Annotated[int, Ge(1)] | None)
        'int (Ge(ge=1)) | None'
    """
    return _text(annotation, ())


def without_none(text: str) -> str:
    """Return the text of a type as it is where the value must be there."""
    return text.removesuffix(_OR + _NONE)


def allows_none(text: str) -> bool:
    """Whether the type of a text allows `None`."""
    return text in (_NONE, _ANY) or text.endswith(_OR + _NONE)


def _text(annotation: Any, around: tuple[Any, ...]) -> str:
    """Return the text of a type inside of others, which stand in it by name only."""
    if isinstance(annotation, TypeAliasType):
        return annotation.__name__ if annotation in around else _text(annotation.__value__, (*around, annotation))
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _constrained(_text(arguments[0], around), arguments[1:])
    if origin in (Union, UnionType):
        return _union(_text(argument, around) for argument in arguments)
    if origin is Literal:
        return f"Literal[{', '.join(sorted(map(_plain, arguments)))}]"
    if isinstance(origin, TypeAliasType):
        return origin.__name__ if origin in around else _text(origin.__value__[arguments], (*around, origin))
    if origin is not None:
        return f"{_name(origin)}[{', '.join(_text(argument, around) for argument in arguments)}]"
    return _class_text(annotation, around)


def _constrained(text: str, metadata: Iterable[Any]) -> str:
    """Return the text of a type with its constraints, which are none of `None`, where that is allowed."""
    told = sorted(set(_constraints(metadata)))
    if not told:
        return text
    bare = without_none(text)
    return f"{bare} ({', '.join(told)}){text.removeprefix(bare)}"


def _constraints(metadata: Iterable[Any]) -> Iterator[str]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _constraints(item.metadata)
        elif isinstance(item, GroupedMetadata):
            yield from _constraints(item)
        elif item is not None and not isinstance(item, Stored):
            yield _constraint(item)


def _constraint(item: Any) -> str:
    if isinstance(item, type):
        return _plain(item)
    if is_dataclass(item):
        given = {at.name: getattr(item, at.name) for at in dataclass_fields(item)}
        said = {at.name: given[at.name] for at in dataclass_fields(item) if given[at.name] is not at.default}
        return f"{type(item).__name__}({_pairs(said)})"
    if isinstance(item, BaseMetadata):
        return _pairs({name: value for name, value in vars(item).items() if value is not None})
    return _plain(item)


def _pairs(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_plain(value)}" for name, value in sorted(given.items()))


def _union(members: Iterable[str]) -> str:
    """Return the members in their order; `None` comes last, wherever it was written."""
    told = dict.fromkeys(part for member in members for part in _parted(member))
    return _OR.join(sorted(told, key=lambda member: member == _NONE))


def _parted(member: str) -> list[str]:
    """Take the `None` of a union inside of a union apart from the rest."""
    return [member] if member == without_none(member) else [without_none(member), _NONE]


def _class_text(kind: Any, around: tuple[Any, ...]) -> str:
    if kind is None or kind is NoneType:
        return _NONE
    if kind is Any:
        return _ANY
    if not isinstance(kind, type):
        return _plain(kind)
    if issubclass(kind, Enum):
        return f"{_name(kind)}[{', '.join(sorted(_plain(member.value) for member in kind))}]"
    if kind in around:
        return _name(kind)
    parts = list(_parts(kind))
    if not parts:
        return _name(kind)
    told = ", ".join(f"{name}: {_text(part, (*around, kind))}" for name, part in parts)
    return f"{_name(kind)}{{{told}}}"


def _parts(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a type that has some; one that may be left out is marked by a question mark."""
    if issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            yield f"{name}{'' if info.is_required() else '?'}", info.rebuild_annotation()
    elif is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "_fields"):
        hints = get_type_hints(kind, include_extras=True)
        names = [item.name for item in dataclass_fields(kind) if item.init] if is_dataclass(kind) else hints
        yield from ((name, hints[name]) for name in names)


def _name(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or _plain(kind)


def _plain(value: Any) -> str:
    return _ADDRESS.sub("", repr(value))
