"""What a product, a block and a subscription are."""

from orchestrator_dagster.domain.block import SI, ProductBlockModel
from orchestrator_dagster.domain.lifecycle import (
    SAFE_USED_BY_TRANSITIONS_FOR_STATUS,
    SubscriptionLifecycle,
    lookup_specialized_type,
)
from orchestrator_dagster.domain.product import ProductLifecycle, ProductModel
from orchestrator_dagster.domain.registry import SUBSCRIPTION_MODEL_REGISTRY, SubscriptionModelRegistry
from orchestrator_dagster.domain.repository import (
    BlockRecord,
    InstanceReference,
    ProductBlockRecord,
    ProductRecord,
    Repository,
    SubscriptionRecord,
    current_repository,
    use_repository,
)
from orchestrator_dagster.domain.subscription import SubscriptionModel

__all__ = [
    "SAFE_USED_BY_TRANSITIONS_FOR_STATUS",
    "SI",
    "SUBSCRIPTION_MODEL_REGISTRY",
    "BlockRecord",
    "InstanceReference",
    "ProductBlockModel",
    "ProductBlockRecord",
    "ProductLifecycle",
    "ProductModel",
    "ProductRecord",
    "Repository",
    "SubscriptionLifecycle",
    "SubscriptionModel",
    "SubscriptionModelRegistry",
    "SubscriptionRecord",
    "current_repository",
    "lookup_specialized_type",
    "use_repository",
]
