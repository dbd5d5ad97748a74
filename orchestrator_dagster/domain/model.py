"""What blocks and subscriptions have in common."""

import inspect
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from orchestrator_dagster.domain.fields import fields_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.errors import DefinitionError


class DomainModel(BaseModel):
    """The base of blocks and subscriptions: every assignment is validated, equality compares content."""

    model_config = ConfigDict(
        validate_assignment=True,
        validate_default=True,
        populate_by_name=True,
        ser_json_inf_nan="strings",
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )

    __base_type__: ClassVar[type[Any] | None] = None
    __lifecycles__: ClassVar[tuple[SubscriptionLifecycle, ...]] = ()

    @classmethod
    def framework_fields(cls) -> frozenset[str]:
        """The fields that every model of this kind has, which are neither blocks nor values of its authors."""
        return frozenset()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DomainModel) or type(self) is not type(other):
            return NotImplemented
        missing = object()
        mine, theirs = self.__dict__, other.__dict__
        return all(mine.get(name, missing) == theirs.get(name, missing) for name in type(self).model_fields)

    __hash__ = None  # type: ignore[assignment]


def check_definition(cls: type[DomainModel]) -> None:
    """Check the fields of a class, as far as their types are known by now.

    Raises:
        DefinitionError: a field cannot be stored.
        LifecycleError: a block type does not suit the lifecycle statuses of the class.
    """
    if cls.__pydantic_complete__:
        fields_of(cls)


def check_names(cls: type[DomainModel], reserved: frozenset[str]) -> None:
    """Refuse fields that would hide what every model of this kind offers.

    Raises:
        DefinitionError: a field has a reserved name.
    """
    taken = sorted(own_annotations(cls) & reserved)
    if taken:
        raise DefinitionError(f"{cls.__qualname__}: a field cannot be called {' or '.join(taken)}, which is a method")


def check_keywords(cls: type[DomainModel], known: Sequence[str], unknown: Any) -> None:
    """Refuse class keywords that mean nothing.

    Raises:
        DefinitionError: there are some.
    """
    if unknown:
        names = ", ".join(sorted(unknown))
        raise DefinitionError(f"{cls.__qualname__}: unknown class keyword {names}; known are {', '.join(known)}")


def own_annotations(cls: type) -> set[str]:
    """Return the names that a class itself annotates."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return set(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
    return set(inspect.get_annotations(cls))


def public_methods(cls: type[DomainModel]) -> frozenset[str]:
    """Return the names that a kind of model offers beside its fields."""
    bases = [base for base in cls.__mro__ if issubclass(base, DomainModel)]
    offered = {name for base in bases for name in base.__dict__ if not name.startswith("_")}
    return frozenset(offered - cls.model_fields.keys() - {"model_config"})


def field_names(cls: type[DomainModel]) -> set[str]:
    """Return the names by which the fields of a model can be given, aliases included."""
    aliases = {info.alias for info in cls.model_fields.values() if info.alias}
    return aliases | cls.model_fields.keys()
