"""Subscriptions: what a customer has of a product, from its first status to its last."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self, Unpack, cast
from uuid import UUID, uuid4

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from orchestrator_dagster.domain.block import ProductBlockModel, new_blocks
from orchestrator_dagster.domain.conversion import convert_blocks, copied_values, links_of, match_roots, own_blocks
from orchestrator_dagster.domain.fields import fields_of
from orchestrator_dagster.domain.lifecycle import (
    SubscriptionLifecycle,
    lookup_specialized_type,
    register_specialized_type,
    validate_lifecycle_change,
)
from orchestrator_dagster.domain.model import (
    check_definition,
    check_keywords,
    check_names,
    public_methods,
)
from orchestrator_dagster.domain.product import ProductModel
from orchestrator_dagster.domain.records import read_values, record_of
from orchestrator_dagster.domain.registry import SUBSCRIPTION_MODEL_REGISTRY
from orchestrator_dagster.domain.repository import current_repository
from orchestrator_dagster.domain.subscription_loading import LoadedModel
from orchestrator_dagster.errors import LifecycleError, ProductNotFoundError


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


UtcDatetime = Annotated[datetime, AfterValidator(_in_utc)]
"""A moment in UTC; one without a zone is taken to be in UTC."""


class SubscriptionModel(LoadedModel):
    """A subscription to a product; the base of all classes of subscriptions.

    A subscription is declared for its first status with `is_base=True`, and narrowed for later ones with `lifecycle`.
    Its fields are root blocks, and fixed inputs, which are the product's and never written.

    Attributes:
        product: the product.
        customer_id: the customer.
        subscription_id: the subscription's own id.
        description: what people see.
        status: the lifecycle status; to change it, make another model with `from_other_lifecycle`.
        insync: whether it agrees with the world outside.
        start_date: when it became active, in UTC.
        end_date: when it was terminated, in UTC.
        note: free text.
        version: the version that was loaded; 0 before the first save.

    Raises:
        DefinitionError: from the `class` statement: a field that cannot be stored, an unknown keyword.
        LifecycleError: from the `class` statement: a block type that does not suit the lifecycle status.

    Example:
        ```python
        class NodeInactive(SubscriptionModel, is_base=True):
            vendor: Vendor
            node: NodeBlockInactive


        class Node(NodeInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
            node: NodeBlock
        ```
    """

    __domain_kind__: ClassVar[str] = "subscription"

    product: ProductModel
    customer_id: str
    subscription_id: UUID = Field(default_factory=uuid4)
    description: str = "Initial subscription"
    status: SubscriptionLifecycle = SubscriptionLifecycle.INITIAL
    insync: bool = False
    start_date: UtcDatetime | None = None
    end_date: UtcDatetime | None = None
    note: str | None = None
    version: int = 0

    def __init_subclass__(
        cls,
        *,
        is_base: bool = False,
        lifecycle: Sequence[SubscriptionLifecycle] | None = None,
        **unknown: Unpack[ConfigDict],
    ) -> None:
        super().__init_subclass__()
        check_keywords(cls, ["is_base", "lifecycle"], unknown)
        check_names(cls, _RESERVED)
        if is_base:
            cls.__base_type__ = cls
        cls.__lifecycles__ = tuple(map(SubscriptionLifecycle, lifecycle or ()))

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        is_base: bool = False,
        lifecycle: Sequence[SubscriptionLifecycle] | None = None,
        **_: Any,
    ) -> None:
        check_definition(cls)
        if is_base:
            register_specialized_type(cls)
        if lifecycle is not None:
            register_specialized_type(cls, lifecycle)

    def __new__(cls, *_: Any, status: SubscriptionLifecycle | None = None, **__: Any) -> Self:
        if status is not None and cls.__base_type__ is not None:
            status = SubscriptionLifecycle(status)
            if not issubclass(cls, lookup_specialized_type(cls, status)):
                raise LifecycleError(f"{cls} is not valid for status {status}")
        return super().__new__(cls)

    @classmethod
    def framework_fields(cls) -> frozenset[str]:
        """The fields that every subscription has: neither blocks nor fixed inputs."""
        return _FIELDS

    @classmethod
    def root_block_types(cls) -> dict[str, tuple[type[ProductBlockModel], ...]]:
        """Return the fields that hold blocks, with the classes that each can hold."""
        return {field.key: field.types for field in fields_of(cls).blocks.values()}

    @classmethod
    def fixed_input_fields(cls) -> dict[str, FieldInfo]:
        """Return the fixed inputs: the fields that hold values, which are the product's."""
        return {field.key: field.info for field in fields_of(cls).values.values()}

    @classmethod
    def from_product_id(
        cls,
        product_id: UUID | str,
        customer_id: str,
        status: SubscriptionLifecycle = SubscriptionLifecycle.INITIAL,
        description: str | None = None,
        insync: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        note: str | None = None,
        version: int = 0,
    ) -> Self:
        """Make a new subscription to a product, with the blocks that it cannot be without.

        Args:
            product_id: the product.
            customer_id: the customer.
            status: its first status.
            description: what people see; made from the product's if it is not given.
            insync: whether it agrees with the world outside.
            start_date: when it became active.
            end_date: when it was terminated.
            note: free text.
            version: kept for orchestrator-core's signature; a new subscription has version 1 after its first save,
                whatever is given.

        Returns:
            The subscription. Nothing of it is stored before `save`.

        Raises:
            ProductNotFoundError: there is no such product.
            LifecycleError: the class is too general for the status.
            pydantic.ValidationError: the product lacks a fixed input, or a block cannot be made without values.

        Example:
            ```python
            subscription = NodeInactive.from_product_id(product, customer_id)
            ```
        """
        del version
        status = SubscriptionLifecycle(status)
        if not issubclass(cls, lookup_specialized_type(cls, status)):
            raise LifecycleError(f"{cls} is not valid for status {status}")
        known_id = _as_id(product_id)
        if known_id is None:
            raise ProductNotFoundError(product_id)
        found = current_repository().product(known_id)
        subscription_id = uuid4()
        return cls.model_validate(
            {
                "product": found.product,
                "customer_id": customer_id,
                "subscription_id": subscription_id,
                "description": description or f"Initial subscription of {found.product.description}",
                "status": status,
                "insync": insync,
                "start_date": start_date,
                "end_date": end_date,
                "note": note,
                **read_values(cls, found.fixed_inputs),
                **new_blocks(cls, subscription_id, {}),
            }
        )

    @classmethod
    def from_other_lifecycle(
        cls, other: "SubscriptionModel", status: SubscriptionLifecycle, skip_validation: bool = False
    ) -> Self:
        """Make the model of a subscription for another lifecycle status.

        Args:
            other: the subscription as it is now; it is left as it is.
            status: the new status.
            skip_validation: do not ask whether the subscriptions that use it have statuses that go with the new one.

        Returns:
            The same subscription, as the class that it is called on, or, on `SubscriptionModel` itself, as the class
            for the status. It has a start date if it is active, and an end date if it is terminated.

        Raises:
            LifecycleError: the class is too general for the status, or a subscription that uses a block of this one
                has a status that does not go with it.
            pydantic.ValidationError: something that the status asks for is missing.

        Example:
            ```python
            subscription = NodeProvisioning.from_other_lifecycle(initial, SubscriptionLifecycle.PROVISIONING)
            ```
        """
        status = SubscriptionLifecycle(status)
        target: type[Self] = cls
        if cls.__base_type__ is None:
            target = cast("type[Self]", lookup_specialized_type(type(other), status))
        elif not issubclass(cls, lookup_specialized_type(cls, status)):
            raise LifecycleError(f"{cls} is not valid for lifecycle {status}")
        if not skip_validation:
            _check_users(other, status)
        now = datetime.now(UTC)
        is_active, is_terminated = status == SubscriptionLifecycle.ACTIVE, status == SubscriptionLifecycle.TERMINATED
        return target._validated(
            {
                **_framework_values(other),
                "status": status,
                "start_date": other.start_date or (now if is_active else None),
                "end_date": other.end_date or (now if is_terminated else None),
                **copied_values(other, target),
                **_converted_blocks(other, target, status, links_of(other)),
            }
        )

    @classmethod
    def from_other_product(
        cls,
        old_instantiation: "SubscriptionModel",
        new_product_id: UUID | str,
        new_root: tuple[str, ProductBlockModel] | None = None,
    ) -> Self:
        """Make the model of a subscription that goes over to another product.

        Args:
            old_instantiation: the subscription as it is now; it is left as it is.
            new_product_id: the product that it goes over to.
            new_root: a field and the block to put there; then nothing else is taken over.

        Returns:
            The same subscription with the same data and the new product's fixed inputs. Blocks go to the field of the
            same name, or else to the first one without a block that takes their kind. Called on `SubscriptionModel`
            itself, it has the class that the registry has for the new product.

        Raises:
            ProductNotFoundError: there is no such product.
            ProductNotInRegistryError: the choice of the class is the registry's, and it does not have the product.
            LifecycleError: the class is too general for the status.
            ModelError: a block fits no field of the new class.
            pydantic.ValidationError: something that the new class asks for is missing.

        Example:
            ```python
            node = Node.from_other_product(imported_node, product_id)
            ```
        """
        old = old_instantiation
        known_id = _as_id(new_product_id)
        if known_id is None:
            raise ProductNotFoundError(new_product_id)
        found = current_repository().product(known_id)
        target = SUBSCRIPTION_MODEL_REGISTRY.class_for(cls, found.product.name, old.status)
        if new_root is not None:
            blocks: dict[str, Any] = dict([new_root])
        else:
            blocks = _converted_blocks(old, target, old.status, match_roots(old, target))
        return target._validated(
            {
                **_framework_values(old),
                "product": found.product,
                **read_values(target, found.fixed_inputs),
                **blocks,
            }
        )

    def save(self) -> None:
        """Store the subscription with its own blocks, and link those of other subscriptions.

        The whole own tree is validated first, so that what was changed in place is found here. The model and its
        blocks stay the same objects; `version` becomes the new version.

        Raises:
            LifecycleError: the class is too general for the status.
            ModelError: something in the tree is not valid, or cannot be stored; the message says where.
            StaleDataError: somebody else saved the subscription since it was loaded.

        Example:
            ```python
            node.node.site = "Utrecht"
            node.save()
            ```
        """
        specialized = lookup_specialized_type(type(self), self.status)
        if not issubclass(type(self), specialized):
            raise LifecycleError(
                f"Lifecycle status {self.status} requires specialized type {specialized}, was: {type(self)}"
            )
        repository = current_repository()
        self.version = repository.save_subscription(record_of(self))
        repository.note_saved(self)

    @classmethod
    def diff_product_in_database(cls, product_id: UUID | str) -> dict[str, Any]:
        """Return where a product in the database differs from what this class, with its family, declares.

        Args:
            product_id: the product.

        Returns:
            What only one side has, as sets of names, by the product's name: `missing_product_blocks_in_db`,
            `missing_product_blocks_in_model`, `missing_fixed_inputs_in_db`, `missing_fixed_inputs_in_model` and
            `missing_in_depends_on_blocks`, which has the same of blocks and of resource types by the name of each block
            that differs. What would be empty is not there, so that all of it is `{}` where nothing differs, or where
            there is no such product.

        Example:
            ```python
            Node.diff_product_in_database(product_id)
            # {"Node": {"missing_in_depends_on_blocks": {"Node": {"missing_resource_types_in_db": {"site"}}}}}
            ```
        """
        known_id = _as_id(product_id)
        return {} if known_id is None else current_repository().product_difference(cls, known_id)


_FIELDS = frozenset(SubscriptionModel.model_fields)
_RESERVED = public_methods(SubscriptionModel)


def _as_id(text: UUID | str) -> UUID | None:
    """An id, or `None` where the text is none: it then is the id of nothing."""
    try:
        return text if isinstance(text, UUID) else UUID(text)
    except ValueError:
        return None


def _framework_values(model: SubscriptionModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in _FIELDS}


def _converted_blocks(
    old: SubscriptionModel,
    target: type[SubscriptionModel],
    status: SubscriptionLifecycle,
    links: Mapping[str, Sequence[UUID]],
) -> dict[str, Any]:
    return convert_blocks([old], target, links, subscription_id=old.subscription_id, status=status)


def _check_users(subscription: SubscriptionModel, status: SubscriptionLifecycle) -> None:
    if subscription.version == 0:
        return  # it was never saved, so nothing uses it
    ids = list(own_blocks(subscription, subscription.subscription_id))
    users = current_repository().in_use_by(ids)
    validate_lifecycle_change(
        status, subscription.subscription_id, [user for found in users.values() for user in found]
    )
