"""The catalogue as values: the form in which what the code declares is compared with what the database has."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.target import Target

Statuses = frozenset[SubscriptionLifecycle]


class FieldKind(StrEnum):
    """What a field holds."""

    VALUE = "value"
    LINK = "link"


@dataclass(frozen=True)
class ValueShape:
    """A field that holds a value: a resource type of a block, or a fixed input of a product.

    Attributes:
        types: the text of its type, for each status whose class has the field.
        required: the statuses in which it cannot be `None`, so that a value must be stored.
    """

    types: Mapping[SubscriptionLifecycle, str]
    required: Statuses

    kind = FieldKind.VALUE

    def __str__(self) -> str:
        return _by_status(self.types)


@dataclass(frozen=True)
class LinkShape:
    """A field that holds blocks.

    Attributes:
        blocks: the names of the blocks that it can hold, for each status whose class has the field.
        least: how many it must hold, likewise.
        many: it holds a list.
        most: how many it can hold, where a list has a limit.
    """

    blocks: Mapping[SubscriptionLifecycle, Sequence[str]]
    least: Mapping[SubscriptionLifecycle, int]
    many: bool
    most: Mapping[SubscriptionLifecycle, int] = field(default_factory=dict)

    kind = FieldKind.LINK

    @property
    def required(self) -> Statuses:
        """The statuses in which it must hold a block."""
        return frozenset(status for status, least in self.least.items() if least)

    def __str__(self) -> str:
        return _by_status({status: self._text(status) for status in self.blocks})

    def _text(self, status: SubscriptionLifecycle) -> str:
        names, least, most = " | ".join(self.blocks[status]), self.least[status], self.most.get(status)
        if self.many:
            limits = [f"{least} or more"] * bool(least) + [f"{most} or fewer"] * (most is not None)
            return ", ".join([f"list of {names}", *limits])
        return names if least else f"{names} | None"


FieldShape = ValueShape | LinkShape
FieldShapes = Mapping[str, FieldShape]


@dataclass(frozen=True)
class ProductEntry:
    """A product in the catalogue.

    Attributes:
        fixed_inputs: their values as JSON.
        blocks: the names of its root blocks.
        workflows: the names of the workflows that are valid for it.
        fields: its root fields and its fixed inputs; `None` where an older version wrote the row.
    """

    description: str
    product_type: str
    tag: str
    status: ProductLifecycle
    fixed_inputs: Mapping[str, Any]
    blocks: frozenset[str]
    workflows: frozenset[str]
    fields: FieldShapes | None = None


@dataclass(frozen=True)
class BlockEntry:
    """A product block in the catalogue.

    Attributes:
        resource_types: the names of its values.
        depends_on: the names of the blocks that it can hold.
        status: `end of life` for a block that is declared no more, and that subscriptions to ended products have.
        fields: its fields; `None` where an older version wrote the row.
    """

    description: str
    tag: str
    resource_types: frozenset[str]
    depends_on: frozenset[str]
    status: ProductLifecycle = ProductLifecycle.ACTIVE
    fields: FieldShapes | None = None


@dataclass(frozen=True)
class WorkflowEntry:
    """A workflow in the catalogue."""

    target: Target
    is_task: bool
    description: str


@dataclass(frozen=True)
class Catalogue:
    """All entries of the catalogue, by name.

    Attributes:
        deleted_workflows: the names of those that the code had once; only a stored catalogue has some.
        products_in_use: the names of those that have subscriptions, whatever their status; likewise.
        blocks_in_use: the names of those of which something is stored; likewise.
    """

    products: Mapping[str, ProductEntry] = field(default_factory=dict)
    blocks: Mapping[str, BlockEntry] = field(default_factory=dict)
    workflows: Mapping[str, WorkflowEntry] = field(default_factory=dict)
    resource_types: Mapping[str, str] = field(default_factory=dict)
    deleted_workflows: frozenset[str] = frozenset()
    products_in_use: frozenset[str] = frozenset()
    blocks_in_use: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.products or self.blocks or self.workflows or self.resource_types)


def fingerprint(catalogue: Catalogue) -> str:
    """Return a text that is the same for two catalogues if, and only if, they are the same."""
    written = {
        "products": {name: asdict(entry) | _fields(entry.fields) for name, entry in catalogue.products.items()},
        "blocks": {name: asdict(entry) | _fields(entry.fields) for name, entry in catalogue.blocks.items()},
        "workflows": {name: asdict(entry) for name, entry in catalogue.workflows.items()},
        "resource_types": dict(catalogue.resource_types),
    }
    return hashlib.sha256(json.dumps(written, sort_keys=True, default=sorted).encode()).hexdigest()


def _fields(shapes: FieldShapes | None) -> dict[str, Any]:
    return {"fields": shapes_to_json(shapes)}


def shapes_to_json(shapes: FieldShapes | None) -> dict[str, Any] | None:
    """Return fields as the catalogue stores them: equal ones are equal as JSON."""
    return None if shapes is None else {name: _shape_to_json(shape) for name, shape in sorted(shapes.items())}


def shapes_from_json(stored: Mapping[str, Any] | None) -> FieldShapes | None:
    """Return fields as they were stored."""
    return None if stored is None else {name: _shape_from_json(shape) for name, shape in stored.items()}


def _shape_to_json(shape: FieldShape) -> dict[str, Any]:
    required = sorted(shape.required)
    if isinstance(shape, ValueShape):
        return {"kind": shape.kind, "many": False, "types": dict(shape.types), "required": required}
    blocks = {status: list(names) for status, names in shape.blocks.items()}
    limits = {"least": dict(shape.least), "most": dict(shape.most)}
    return {"kind": shape.kind, "many": shape.many, "blocks": blocks, "required": required, **limits}


def _shape_from_json(stored: Mapping[str, Any]) -> FieldShape:
    if stored["kind"] == FieldKind.VALUE:
        required = frozenset(map(SubscriptionLifecycle, stored["required"]))
        return ValueShape(_of_statuses(stored["types"]), required)
    blocks = {status: tuple(names) for status, names in _of_statuses(stored["blocks"]).items()}
    return LinkShape(blocks, _of_statuses(stored["least"]), stored["many"], _of_statuses(stored.get("most", {})))


def _of_statuses(stored: Mapping[str, Any]) -> dict[SubscriptionLifecycle, Any]:
    return {status: stored[status] for status in SubscriptionLifecycle if status in stored}


def _by_status(texts: Mapping[SubscriptionLifecycle, str]) -> str:
    """Return one text where it is for all statuses, or each with the statuses that it is for."""
    grouped: dict[str, list[str]] = {}
    for status, text in texts.items():
        grouped.setdefault(text, []).append(status.value)
    if len(grouped) == 1 and len(texts) == len(SubscriptionLifecycle):
        return next(iter(grouped))
    return "; ".join(f"{text} ({', '.join(statuses)})" for text, statuses in _in_order(grouped.items()))


def _in_order(grouped: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """Yield what is for few statuses last: the general comes before the exceptions."""
    yield from sorted(grouped, key=lambda item: -len(item[1]))
