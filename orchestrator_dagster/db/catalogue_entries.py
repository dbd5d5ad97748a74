"""The catalogue as values: what the code declares, in the form in which it is compared with the database."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from orchestrator_dagster.domain.block import ProductBlockModel
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration, ProductDeclaration, WorkflowDeclaration
from orchestrator_dagster.domain.fields import ValueField, fields_of
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle, base_type_of, lookup_specialized_type
from orchestrator_dagster.domain.model import DomainModel
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.subscription import SubscriptionModel
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.domain.tree import descendants
from orchestrator_dagster.errors import ConfigurationError, ModelError

T = TypeVar("T")
M = TypeVar("M", bound=DomainModel)
BlockType = type[ProductBlockModel]


@dataclass(frozen=True)
class ProductEntry:
    """A product in the catalogue.

    Attributes:
        fixed_inputs: their values as JSON.
        blocks: the names of its root blocks.
        workflows: the names of the workflows that are valid for it.
    """

    description: str
    product_type: str
    tag: str
    status: ProductLifecycle
    fixed_inputs: Mapping[str, Any]
    blocks: frozenset[str]
    workflows: frozenset[str]


@dataclass(frozen=True)
class BlockEntry:
    """A product block in the catalogue.

    Attributes:
        resource_types: the names of its values.
        depends_on: the names of the blocks that it can hold.
    """

    description: str
    tag: str
    resource_types: frozenset[str]
    depends_on: frozenset[str]


@dataclass(frozen=True)
class WorkflowEntry:
    """A workflow in the catalogue."""

    target: Target
    is_task: bool
    description: str


@dataclass(frozen=True)
class Catalogue:
    """All entries of the catalogue, by name."""

    products: Mapping[str, ProductEntry] = field(default_factory=dict)
    blocks: Mapping[str, BlockEntry] = field(default_factory=dict)
    workflows: Mapping[str, WorkflowEntry] = field(default_factory=dict)
    resource_types: Mapping[str, str] = field(default_factory=dict)


def declared_catalogue(declaration: CatalogueDeclaration) -> Catalogue:
    """Return the entries that the code declares.

    Raises:
        ConfigurationError: the declaration contradicts itself: a name stands for two things, a workflow is not
            declared, or a fixed input is missing, unknown or not valid.
    """
    workflows = _by_name("workflow", [(workflow.name, workflow) for workflow in declaration.workflows])
    products = _by_name("product", [(product.name, product) for product in declaration.products])
    families = _block_families(declaration.products)
    return Catalogue(
        products={name: _product(product, workflows) for name, product in products.items()},
        blocks={name: _block(name, family) for name, family in families.items()},
        workflows={
            name: WorkflowEntry(workflow.target, workflow.is_task, workflow.description)
            for name, workflow in workflows.items()
        },
        resource_types=_resource_types(families),
    )


def _by_name(kind: str, named: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, item in named:
        if name in found:
            raise ConfigurationError(f"Two {kind}s are called {name}")
        found[name] = item
    return found


def _product(product: ProductDeclaration, workflows: Mapping[str, WorkflowDeclaration]) -> ProductEntry:
    unknown = sorted(set(product.workflows) - workflows.keys())
    if unknown:
        raise ConfigurationError(f"Product {product.name} has workflows that are not declared: {', '.join(unknown)}")
    return ProductEntry(
        description=product.description,
        product_type=product.product_type,
        tag=product.tag,
        status=product.status,
        fixed_inputs=_fixed_inputs(product),
        blocks=frozenset(_name(block_type) for block_type in _roots(product.model)),
        workflows=frozenset(product.workflows),
    )


def _fixed_inputs(product: ProductDeclaration) -> dict[str, Any]:
    fields = {at.key: at for variant in _variants(product.model) for at in fields_of(variant).values.values()}
    fields |= {at.key: at for at in fields_of(product.model).values.values()}
    unknown = sorted(product.fixed_inputs.keys() - fields.keys())
    if unknown:
        raise ConfigurationError(
            f"Product {product.name}: {product.model.__name__} has no fixed input {' or '.join(unknown)}"
        )
    return {name: _fixed_input(product, at) for name, at in fields.items()}


def _fixed_input(product: ProductDeclaration, at: ValueField) -> Any:
    if at.key in product.fixed_inputs:
        given = product.fixed_inputs[at.key]
    elif at.info.is_required():
        raise ConfigurationError(f"Product {product.name} lacks a value for the fixed input {at.key}")
    else:
        given = at.info.get_default(call_default_factory=True, validated_data={})
    try:
        return at.codec.dump(_adapter(at).validate_python(given))
    except ValidationError as error:
        reasons = "; ".join(problem["msg"] for problem in error.errors(include_url=False))
        raise ConfigurationError(
            f"Product {product.name}: {given!r} is not valid for the fixed input {at.key}: {reasons}"
        ) from error
    except ModelError as error:
        raise ConfigurationError(f"Product {product.name}: the fixed input {at.key} {error}") from error


def _adapter(at: ValueField) -> TypeAdapter[Any]:
    annotation = at.info.rebuild_annotation()
    try:
        return TypeAdapter(annotation, config=at.config)
    except PydanticUserError:  # the type has a configuration of its own
        return TypeAdapter(annotation)


def _block(name: str, family: Sequence[BlockType]) -> BlockEntry:
    return BlockEntry(
        description=_description(family) or name,
        tag=name.upper(),
        resource_types=frozenset(key for variant in family for key in variant.value_fields()),
        depends_on=frozenset(_name(block_type) for variant in family for block_type in _children(variant)),
    )


def _description(family: Sequence[BlockType]) -> str | None:
    """Return the first paragraph of the first docstring that a class of the family has of its own."""
    for variant in family:
        own = vars(variant).get("__doc__")
        if own:
            return " ".join(inspect.cleandoc(own).split("\n\n")[0].split())
    return None


def _resource_types(families: Mapping[str, Sequence[BlockType]]) -> dict[str, str]:
    """Return the resource types with their descriptions: the first that a field gives, else the name."""
    described: dict[str, str | None] = {}
    for family in families.values():
        for variant in family:
            for key, info in variant.value_fields().items():
                described[key] = described.get(key) or info.description
    return {name: description or name for name, description in described.items()}


def _block_families(products: Iterable[ProductDeclaration]) -> dict[str, Sequence[BlockType]]:
    """Return the classes of every block that a product can hold at any depth, in any status, by block name."""
    families: dict[str, Sequence[BlockType]] = {}
    waiting = [block_type for product in products for block_type in _roots(product.model)]
    while waiting:
        block_type = waiting.pop(0)
        name, family = _name(block_type), _variants(block_type)
        if name not in families:
            families[name] = family
            waiting += [child for variant in family for child in _children(variant)]
        elif _full_name(families[name][0]) != _full_name(family[0]):
            raise ConfigurationError(
                f"Product block {name} is declared by two classes: "
                f"{_full_name(families[name][0])} and {_full_name(family[0])}"
            )
    return families


def _variants(model: type[M]) -> Sequence[type[M]]:
    """Return the base of a model's family, then its classes for the statuses."""
    base: type[M] | None = base_type_of(model)
    if base is None:
        return (model,)
    specialized = [lookup_specialized_type(base, status) for status in SubscriptionLifecycle]
    return tuple(dict.fromkeys([base, *specialized, model]))


def _roots(model: type[SubscriptionModel]) -> Iterator[BlockType]:
    for variant in _variants(model):
        for block_types in variant.root_block_types().values():
            yield from _concrete(block_types)


def _children(block: BlockType) -> Iterator[BlockType]:
    for block_types in block.block_types().values():
        yield from _concrete(block_types)


def _concrete(block_types: Iterable[BlockType]) -> Iterator[BlockType]:
    """Yield the classes that have a name in the catalogue: an abstract one stands for those that inherit from it."""
    for block_type in block_types:
        if block_type.product_block_name is not None:
            yield block_type
        else:
            yield from (found for found in descendants(block_type) if found.product_block_name is not None)


def _name(block_type: BlockType) -> str:
    assert block_type.product_block_name is not None  # noqa: S101  only concrete classes come here
    return block_type.product_block_name


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
