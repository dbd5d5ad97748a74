"""What code declares of products and workflows; the database follows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.target import Target

if TYPE_CHECKING:
    from orchestrator_dagster.domain.subscription import SubscriptionModel


@dataclass(frozen=True)
class WorkflowDeclaration:
    """A workflow as the catalogue knows it.

    Attributes:
        renamed_from: the names that it had before.
    """

    name: str
    target: Target
    description: str
    is_task: bool = False
    renamed_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProductDeclaration:
    """A product as the catalogue knows it.

    Attributes:
        model: the subscription class of its active subscriptions.
        fixed_inputs: a value for each fixed input of the model, by name.
        workflows: the names of the workflows that are valid for it.
        renamed_from: the names that it had before.
    """

    name: str
    model: "type[SubscriptionModel]"
    description: str
    product_type: str
    tag: str
    status: ProductLifecycle = ProductLifecycle.ACTIVE
    fixed_inputs: Mapping[str, Any] = field(default_factory=dict)
    workflows: tuple[str, ...] = ()
    renamed_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class CatalogueDeclaration:
    """All products and workflows of an orchestrator."""

    products: tuple[ProductDeclaration, ...]
    workflows: tuple[WorkflowDeclaration, ...]
