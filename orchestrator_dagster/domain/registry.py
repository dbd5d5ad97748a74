"""Which class the subscriptions to a product have."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle, base_type_of, lookup_specialized_type
from orchestrator_dagster.domain.lifecycle_validation import LifecycleValidationMode
from orchestrator_dagster.errors import LifecycleError, ModelError, ProductNotInRegistryError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.subscription import SubscriptionModel

S = TypeVar("S", bound="SubscriptionModel")


class SubscriptionModelRegistry(dict[str, "type[SubscriptionModel]"]):
    """The classes of subscriptions by the name of their product; several products may have the same class.

    Attributes:
        lifecycle_validation: what happens when a step asks for a more specialised class than the status does.

    Raises:
        TypeError: on every way to put something in, if it is not a class of subscriptions.

    Example:
        ```python
        SUBSCRIPTION_MODEL_REGISTRY.update({"Node Cisco": Node, "Node Nokia": Node})
        ```
    """

    lifecycle_validation: LifecycleValidationMode = LifecycleValidationMode.LOOSE

    def __init__(self, *args: Any, **kwargs: "type[SubscriptionModel]") -> None:
        super().__init__()
        self.update(*args, **kwargs)

    def __setitem__(self, product_name: str, model: "type[SubscriptionModel]") -> None:
        _check(product_name, model)
        super().__setitem__(product_name, model)

    def setdefault(self, product_name: str, model: Any = None) -> "type[SubscriptionModel]":
        """Return the class of a product, putting one in where there is none."""
        if product_name not in self:
            self[product_name] = model
        return self[product_name]

    def update(self, *args: Any, **kwargs: "type[SubscriptionModel]") -> None:
        """Put classes in; all or, if one of them is refused, none.

        Args:
            args: nothing, a mapping, or pairs.
            kwargs: classes by product name.
        """
        given: dict[str, type[SubscriptionModel]] = dict(*args, **kwargs)
        for product_name, model in given.items():
            _check(product_name, model)
        super().update(given)

    def __ior__(  # type: ignore[override,misc]
        self, other: "Mapping[str, type[SubscriptionModel]] | Iterable[tuple[str, type[SubscriptionModel]]]"
    ) -> "SubscriptionModelRegistry":
        self.update(other)
        return self

    def class_for(self, asked: type[S], product_name: str, status: SubscriptionLifecycle) -> type[S]:
        """Return the class that a subscription loads as.

        Args:
            asked: the class that was asked for; `SubscriptionModel`, or one outside of any family, leaves the choice
                to the registry.
            product_name: the subscription's product.
            status: the subscription's status.

        Raises:
            ProductNotInRegistryError: the choice is the registry's, and it does not have the product.
            LifecycleError: the class that was asked for is too general for the status.
            ModelError: the product's class is of another kind.
        """
        registered = self.get(product_name)
        if base_type_of(asked) is not None:
            if not issubclass(asked, lookup_specialized_type(asked, status)):
                raise LifecycleError(f"{asked} is not valid for lifecycle {status}")
            if registered is not None and not _are_related(asked, registered):
                raise ModelError(f"Subscriptions to product '{product_name}' are of {registered}, not of {asked}")
            return asked
        if registered is None:
            raise ProductNotInRegistryError(product_name)
        found = lookup_specialized_type(registered, status)
        if not issubclass(found, asked):
            raise ModelError(f"Subscriptions to product '{product_name}' are of {registered}, not of {asked}")
        return found


def _check(product_name: str, model: Any) -> None:
    if not isinstance(model, type) or getattr(model, "__domain_kind__", None) != "subscription":
        raise TypeError(f"{product_name}: {model!r} is not a subclass of SubscriptionModel")


def _are_related(left: type, right: type) -> bool:
    bases = base_type_of(left) or left, base_type_of(right) or right
    return issubclass(*bases) or issubclass(*reversed(bases))


SUBSCRIPTION_MODEL_REGISTRY = SubscriptionModelRegistry()
"""The classes of all products, by the product's name."""
