"""The catalogue as the code declares it: its entries, what they were called before, and the models behind them."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from orchestrator_dagster.db.catalogue.entries import BlockEntry, Catalogue, ProductEntry, WorkflowEntry, fingerprint
from orchestrator_dagster.db.catalogue.models import (
    BlockType,
    FieldModels,
    LinkModel,
    children_of,
    classes_of_roots,
    earlier_names_of,
    field_models,
    full_name,
    name_of,
    roots_of,
    variants_of,
)
from orchestrator_dagster.db.catalogue.values import FieldValues
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration, ProductDeclaration, WorkflowDeclaration
from orchestrator_dagster.domain.fields import ValueField, fields_of
from orchestrator_dagster.errors import ConfigurationError, ModelError

T = TypeVar("T")


@dataclass(frozen=True)
class DeclaredCatalogue:
    """What the code declares.

    Attributes:
        entries: what the database should have.
        products: the fields of each product: its root fields and its fixed inputs.
        blocks: the fields of each block.
        product_names: the earlier names of products.
        block_names: the earlier names of blocks.
        workflow_names: the earlier names of workflows.
    """

    entries: Catalogue
    products: Mapping[str, FieldModels]
    blocks: Mapping[str, FieldModels]
    product_names: Mapping[str, Sequence[str]]
    block_names: Mapping[str, Sequence[str]]
    workflow_names: Mapping[str, Sequence[str]]

    @cached_property
    def fingerprint(self) -> str:
        """A text that is the same as long as the database should have the same."""
        return fingerprint(self.entries)


def declared_catalogue(declaration: CatalogueDeclaration) -> DeclaredCatalogue:
    """Return what the code declares.

    Raises:
        ConfigurationError: the declaration contradicts itself: a name stands for two things, a workflow is not
            declared, a fixed input is missing, unknown or not valid, or an earlier name is in use or claimed twice.
        DefinitionError: the classes of a model say different things of a field.
    """
    workflows = _by_name("workflow", [(workflow.name, workflow) for workflow in declaration.workflows])
    products = _by_name("product", [(product.name, product) for product in declaration.products])
    families = _block_families(declaration.products)
    product_fields = {name: field_models(product.model) for name, product in products.items()}
    classes = classes_of_roots([product.model for product in declaration.products])
    block_fields = {name: field_models(family[0], classes.get(name)) for name, family in families.items()}
    return DeclaredCatalogue(
        entries=Catalogue(
            products={name: _product(product, product_fields[name], workflows) for name, product in products.items()},
            blocks={name: _block(name, family, block_fields[name]) for name, family in families.items()},
            workflows={
                name: WorkflowEntry(workflow.target, workflow.is_task, workflow.description)
                for name, workflow in workflows.items()
            },
            resource_types=_resource_types(families),
        ),
        products=product_fields,
        blocks=block_fields,
        product_names=_earlier("product", {name: product.renamed_from for name, product in products.items()}),
        block_names=_earlier("product block", {name: family[0].__renamed_from__ for name, family in families.items()}),
        workflow_names=_earlier("workflow", {name: workflow.renamed_from for name, workflow in workflows.items()}),
    )


def _by_name(kind: str, named: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, item in named:
        if name in found:
            raise ConfigurationError(f"Two {kind}s are called {name}")
        found[name] = item
    return found


def _earlier(kind: str, names: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the earlier names of those that have some, after a check that each is the earlier name of one only."""
    claimed: dict[str, str] = {}
    for name, earlier in names.items():
        for old in earlier:
            if old in names:
                raise ConfigurationError(
                    f"{kind.capitalize()} {name} is declared as renamed from {old}, which is declared too: "
                    "take that renamed_from away"
                )
            if old in claimed:
                raise ConfigurationError(f"Two {kind}s are declared as renamed from {old}: {claimed[old]} and {name}")
            claimed[old] = name
    return {name: earlier for name, earlier in names.items() if earlier}


def _product(
    product: ProductDeclaration, fields: FieldModels, workflows: Mapping[str, WorkflowDeclaration]
) -> ProductEntry:
    unknown = sorted(set(product.workflows) - workflows.keys())
    if unknown:
        raise ConfigurationError(f"Product {product.name} has workflows that are not declared: {', '.join(unknown)}")
    _earlier_fields(f"product {product.name}", fields)
    return ProductEntry(
        description=product.description,
        product_type=product.product_type,
        tag=product.tag,
        status=product.status,
        fixed_inputs=_fixed_inputs(product),
        blocks=frozenset(name_of(block_type) for block_type in roots_of(product.model)),
        workflows=frozenset(product.workflows),
        fields={name: found.shape for name, found in fields.items()},
    )


def _fixed_inputs(product: ProductDeclaration) -> dict[str, Any]:
    inputs = {at.key: at for variant in variants_of(product.model) for at in fields_of(variant).values.values()}
    inputs |= {at.key: at for at in fields_of(product.model).values.values()}
    unknown = sorted(product.fixed_inputs.keys() - inputs.keys())
    if unknown:
        raise ConfigurationError(
            f"Product {product.name}: {product.model.__name__} has no fixed input {' or '.join(unknown)}"
        )
    return {name: _fixed_input(product, at) for name, at in inputs.items()}


def _fixed_input(product: ProductDeclaration, at: ValueField) -> Any:
    if at.key not in product.fixed_inputs and at.info.is_required():
        raise ConfigurationError(f"Product {product.name} lacks a value for the fixed input {at.key}")
    default = at.info.get_default(call_default_factory=True, validated_data={})
    given = product.fixed_inputs.get(at.key, default)
    try:
        return FieldValues(at).dump(given)
    except ModelError as error:
        raise ConfigurationError(
            f"Product {product.name}: {given!r} is not valid for the fixed input {at.key}: {error}"
        ) from error


def _block(name: str, family: Sequence[BlockType], fields: FieldModels) -> BlockEntry:
    _earlier_fields(f"product block {name}", fields)
    return BlockEntry(
        description=_description(family) or name,
        tag=name.upper(),
        resource_types=frozenset(key for key, found in fields.items() if not isinstance(found, LinkModel)),
        depends_on=frozenset(name_of(block_type) for variant in family for block_type in children_of(variant)),
        fields={key: found.shape for key, found in fields.items()},
    )


def _earlier_fields(where: str, fields: FieldModels) -> None:
    _earlier(f"field of {where}", {key: earlier_names_of(found) for key, found in fields.items()})


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
    waiting = [block_type for product in products for block_type in roots_of(product.model)]
    while waiting:
        block_type = waiting.pop(0)
        name, family = name_of(block_type), variants_of(block_type)
        if name not in families:
            families[name] = family
            waiting += [child for variant in family for child in children_of(variant)]
        elif full_name(families[name][0]) != full_name(family[0]):
            raise ConfigurationError(
                f"Product block {name} is declared by two classes: "
                f"{full_name(families[name][0])} and {full_name(family[0])}"
            )
    return families
