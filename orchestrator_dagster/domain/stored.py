"""What a field says about values that are stored already, for the catalogue to move them when the model changes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from uuid import UUID

from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.errors import DefinitionError


class _NoFill(Enum):
    NO_FILL = "no fill"

    def __repr__(self) -> str:
        return "NO_FILL"


NO_FILL: Final = _NoFill.NO_FILL
"""Stands for a fill that was not declared; `None` is one."""


@dataclass(frozen=True)
class StoredBlock:
    """A block as it is stored, whatever the models are today: what a fill function gets.

    Attributes:
        subscription_id: the subscription that the block is part of.
        subscription_instance_id: the block's own id.
        product: the name of the subscription's product.
        customer_id: the subscription's customer.
        status: the subscription's status.
        product_block: the name of the block in the catalogue.
        label: the block's label.
        values: its values as JSON, by resource type, under the names that they have after the renames; those of fields
            that are removed at the same time are still there.
    """

    subscription_id: UUID
    subscription_instance_id: UUID
    product: str
    customer_id: str
    status: SubscriptionLifecycle
    product_block: str
    label: str | None
    values: Mapping[str, Any]


Fill = Callable[[StoredBlock], Any]
Names = str | tuple[str, ...]
"""One earlier name, or several."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the catalogue does with the stored values of a field whose model has changed.

    It stands in the metadata of the field's type. The classes for the lifecycle statuses of a model may repeat it; it
    is enough that one of them has it. It may stay when it has done its work.

    Args:
        renamed_from: the earlier name of the field, or several: its values move along.
        fill: what subscriptions get that lack a value they need, or whose value doesn't fit the type any more: a
            constant, or a function of the stored block that returns the value.

    Raises:
        DefinitionError: it says nothing, or an earlier name is none.

    Example:
        >>> from typing import Annotated
        >>> from orchestrator_dagster.domain import ProductBlockModel
        >>> class RackBlock(ProductBlockModel, product_block_name="Rack"):
        ...     place: Annotated[str, Stored(renamed_from="location")]
        ...     height: Annotated[int, Stored(fill=42)]
        ...     title: Annotated[str, Stored(fill=lambda block: f"Rack in {block.values['place']}")]
    """

    renamed_from: Names = ()
    fill: Any = field(default=NO_FILL, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "renamed_from", earlier_names("Stored", self.renamed_from))
        if not self.renamed_from and self.fill is NO_FILL:
            raise DefinitionError("Stored() says nothing: give it renamed_from or fill")

    @property
    def earlier_names(self) -> tuple[str, ...]:
        """The names that the field had before."""
        return self.renamed_from if isinstance(self.renamed_from, tuple) else (self.renamed_from,)


def earlier_names(where: str, given: Names | Iterable[str] | None) -> tuple[str, ...]:
    """Return earlier names as a tuple, however they were given.

    Args:
        where: what they were declared for, as an error says it.
        given: one name, several, or none.

    Raises:
        DefinitionError: one of them is not a name.
    """
    names = (given,) if isinstance(given, str) else tuple(given or ())
    if not all(isinstance(name, str) and name for name in names):
        raise DefinitionError(f"{where}: renamed_from takes a name or several, not {given!r}")
    return tuple(dict.fromkeys(names))
