"""Product blocks: the reusable groups of resource types that subscriptions are made of."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, Unpack
from uuid import UUID, uuid4

from pydantic import ConfigDict, Field
from pydantic.fields import FieldInfo

from orchestrator_dagster.domain.fields import BlockField, fields_of
from orchestrator_dagster.domain.lifecycle import (
    SubscriptionLifecycle,
    lookup_specialized_type,
    register_specialized_type,
)
from orchestrator_dagster.domain.model import (
    DomainModel,
    check_definition,
    check_keywords,
    check_names,
    field_names,
    own_annotations,
    public_methods,
)
from orchestrator_dagster.domain.records import tree_of_records
from orchestrator_dagster.domain.repository import (
    BlockRecord,
    InstanceReference,
    ProductBlockRecord,
    current_repository,
)
from orchestrator_dagster.domain.stored import Names, earlier_names
from orchestrator_dagster.domain.tree import descendants
from orchestrator_dagster.errors import DefinitionError, LifecycleError, ModelError, ProductBlockNotFoundError

SI = TypeVar("SI")
"""Stands for the block in a list type of one's own: `ListOfPorts = Annotated[list[SI], Len(2, 8)]`."""


class ProductBlockModel(DomainModel):
    """A product block; the base of all classes of blocks.

    A block is declared for its first status with `product_block_name`, and narrowed for later ones with `lifecycle`. A
    class with neither is abstract: other blocks can inherit from it, and a field of its type takes any of them. A block
    whose name was another once says so beside it, with `renamed_from`: what is stored of it moves along.

    Attributes:
        product_block_name: the name in the catalogue; `None` on an abstract class.
        name: the same name as part of the dump, unless the block declares a resource type `name`.
        subscription_instance_id: the block's own id.
        owner_subscription_id: the subscription that it is part of, and that alone writes it.
        label: free text.

    Raises:
        DefinitionError: from the `class` statement: a field that cannot be stored, an unknown keyword.
        LifecycleError: from the `class` statement: a block type that does not suit the lifecycle status.

    Example:
        ```python
        class ChannelBlockInactive(ProductBlockModel, product_block_name="Channel"):
            vlan: int | None = None


        class ChannelBlock(ChannelBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
            vlan: int
        ```
    """

    __domain_kind__: ClassVar[str] = "block"
    __names__: ClassVar[frozenset[str]] = frozenset()
    __declares_name__: ClassVar[bool] = False
    __renamed_from__: ClassVar[tuple[str, ...]] = ()
    product_block_name: ClassVar[str | None] = None

    if TYPE_CHECKING:
        name: Any = Field(default=None, frozen=True)  # any, so that a resource type `name` may be of any type
    else:
        name: str = Field(default="", frozen=True)
    subscription_instance_id: UUID = Field(default_factory=uuid4)
    owner_subscription_id: UUID
    label: str | None = None

    def __init_subclass__(
        cls,
        *,
        product_block_name: str | None = None,
        lifecycle: Sequence[SubscriptionLifecycle] | None = None,
        renamed_from: Names | None = None,
        **unknown: Unpack[ConfigDict],
    ) -> None:
        super().__init_subclass__()
        check_keywords(cls, ["product_block_name", "lifecycle", "renamed_from"], unknown)
        check_names(cls, _RESERVED)
        if own_annotations(cls) & {"name"}:
            cls.__declares_name__ = True
        if product_block_name is not None or lifecycle is None:
            cls.__base_type__ = cls
            cls.product_block_name = product_block_name
            cls.__renamed_from__ = earlier_names(cls.__qualname__, renamed_from)
        else:
            cls.__base_type__ = _family(cls)
            cls.product_block_name = getattr(cls.__base_type__, "product_block_name", None)
        cls.__lifecycles__ = tuple(map(SubscriptionLifecycle, lifecycle or ()))
        inherited = frozenset[str]().union(*(getattr(base, "__names__", ()) for base in cls.__bases__))
        cls.__names__ = inherited | ({product_block_name} if product_block_name else set())
        if cls.product_block_name and not cls.__declares_name__:
            pattern = f"^{re.escape(cls.product_block_name)}$"
            type.__setattr__(cls, "name", Field(default=cls.product_block_name, frozen=True, pattern=pattern))

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        product_block_name: str | None = None,
        lifecycle: Sequence[SubscriptionLifecycle] | None = None,
        renamed_from: Names | None = None,
        **_: Any,
    ) -> None:
        if renamed_from is not None and product_block_name is None:
            raise DefinitionError(f"{cls.__qualname__}: renamed_from stands beside product_block_name")
        check_definition(cls)
        if product_block_name is not None or lifecycle is None:
            register_specialized_type(cls)
        if lifecycle is not None:
            register_specialized_type(cls, lifecycle)

    def __new__(cls, *_: Any, **__: Any) -> Self:
        if cls.product_block_name is None:
            names = sorted({found.__name__ for found in descendants(cls) if found.product_block_name})
            raise ModelError(f"Cannot create instance of abstract class. Use one of {{{', '.join(names)}}}")
        return super().__new__(cls)

    @classmethod
    def framework_fields(cls) -> frozenset[str]:
        """The fields that every block has: neither blocks nor resource types."""
        return _FIELDS if cls.__declares_name__ else _FIELDS | {"name"}

    @classmethod
    def block_types(cls) -> dict[str, tuple[type["ProductBlockModel"], ...]]:
        """Return the fields that hold blocks, with the classes that each can hold.

        Example:
            >>> class LinkBlock(ProductBlockModel, product_block_name="Link"):
            ...     speed: int = 0
            >>> class TrunkBlock(ProductBlockModel, product_block_name="Trunk"):
            ...     links: list[LinkBlock] = []
            >>> TrunkBlock.block_types()
            {'links': (<class '...LinkBlock'>,)}
        """
        return {field.key: field.types for field in fields_of(cls).blocks.values()}

    @classmethod
    def value_fields(cls) -> dict[str, FieldInfo]:
        """Return the resource types: the fields that hold values."""
        return {field.key: field.info for field in fields_of(cls).values.values()}

    @classmethod
    def product_block(cls) -> ProductBlockRecord:
        """Return the block's entry in the catalogue: its id, description and tag.

        Raises:
            ProductBlockNotFoundError: the catalogue has none, or the class is abstract.
        """
        if cls.product_block_name is None:
            raise ProductBlockNotFoundError(cls.__name__)
        return current_repository().product_block(cls.product_block_name)

    @classmethod
    def new(cls, /, subscription_id: UUID | str, **kwargs: Any) -> Self:
        """Make a block of a subscription, with the blocks that it cannot be without.

        Args:
            subscription_id: the subscription that it will be part of.
            kwargs: its fields; blocks among them are taken as they are instead of being made.

        Returns:
            The block. It is stored when its subscription is saved.

        Raises:
            ModelError: there is no such field, the class is abstract, or a union of blocks is not optional
                and not given.
            pydantic.ValidationError: a value is missing or wrong.

        Example:
            ```python
            channel = ChannelBlockInactive.new(subscription.subscription_id, vlan=20)
            ```
        """
        unknown = kwargs.keys() - field_names(cls)
        if unknown:
            raise ModelError(f"{cls.__name__} has no field {' or '.join(sorted(unknown))}")
        owner = subscription_id if isinstance(subscription_id, UUID) else UUID(subscription_id)
        blocks = new_blocks(cls, owner, kwargs)
        return cls.model_validate({"owner_subscription_id": owner, **blocks, **kwargs})

    @classmethod
    def from_db(cls, subscription_instance_id: UUID | str) -> Self:
        """Load a block, with all that it depends on.

        Args:
            subscription_instance_id: the block's id.

        Returns:
            The block. Called on an abstract class, it has the class that fits its subscription's status.

        Raises:
            ProductBlockNotFoundError: there is no such block.
            LifecycleError: the class is too general for the status of the block's subscription.
            ModelError: it is a block of another kind.

        Example:
            ```python
            port.node = NodeBlock.from_db(node_instance_id)
            ```
        """
        block_id = UUID(str(subscription_instance_id))
        records = current_repository().load_block(block_id)
        record = records[block_id]
        return tree_of_records(records, None).build_block(_class_for(cls, record), block_id)

    @property
    def in_use_by(self) -> list[InstanceReference]:
        """The blocks that use this one directly, as they are stored now."""
        instance_id = self.subscription_instance_id
        return list(current_repository().in_use_by([instance_id]).get(instance_id, ()))

    @property
    def depends_on(self) -> list[InstanceReference]:
        """The blocks that this one uses directly, as they are stored now."""
        instance_id = self.subscription_instance_id
        return list(current_repository().depends_on([instance_id]).get(instance_id, ()))


_FIELDS = frozenset({"subscription_instance_id", "owner_subscription_id", "label"})
_RESERVED = public_methods(ProductBlockModel)


def new_blocks(
    model: type[DomainModel], subscription_id: UUID, given: Mapping[str, Any]
) -> dict[str, ProductBlockModel | list[ProductBlockModel] | None]:
    """Make the blocks that a new model cannot be without.

    Args:
        model: the class of the block or subscription that will hold them.
        subscription_id: the subscription that they will be part of.
        given: the fields that need none made.

    Raises:
        ModelError: a block is of an abstract class, or of a union that is not optional.
    """
    fields = fields_of(model).blocks.values()
    return {
        field.name: _new_blocks_of(field, subscription_id)
        for field in fields
        if not {field.name, field.key} & given.keys() and not _has_blocks_by_default(field)
    }


def _new_blocks_of(field: BlockField, subscription_id: UUID) -> ProductBlockModel | list[ProductBlockModel] | None:
    if field.many:
        if field.optional:
            return None
        return [field.types[-1].new(subscription_id) for _ in range(field.min_length)]
    if field.optional:
        return None
    if len(field.types) > 1:
        raise ModelError(
            "Union Types must always be `Optional` when calling `.new().` We are unable to detect which type to "
            "intialise and Union types always cross subscription boundaries."
        )
    return field.types[0].new(subscription_id)


def _has_blocks_by_default(field: BlockField) -> bool:
    return field.info.default_factory is not None or (not field.info.is_required() and bool(field.info.default))


B = TypeVar("B", bound=ProductBlockModel)


def _class_for(cls: type[B], record: BlockRecord) -> type[B]:
    """The class that a block loads as, when it is asked for as `cls`."""
    name, status = record.product_block_name, record.owner_status
    if cls.product_block_name == name:
        if not issubclass(cls, lookup_specialized_type(cls, status)):
            raise LifecycleError(f"{cls} is not valid for lifecycle {status}")
        return cls
    families = {found.__base_type__: found for found in descendants(cls) if found.product_block_name == name}
    if not families:
        raise ModelError(f"Block {record.subscription_instance_id} is a {name}, not a {cls.product_block_name or cls}")
    *_, found = families.values()
    fitting = lookup_specialized_type(found, status)
    return fitting if issubclass(fitting, cls) else found


def _family(cls: type[ProductBlockModel]) -> type[ProductBlockModel] | None:
    """The base of the lifecycle classes that a class narrows: the nearest that has a name, else the nearest."""
    bases = [base for base in cls.__mro__[1:] if base.__dict__.get("__base_type__") is base]
    named = [base for base in bases if getattr(base, "product_block_name", None)]
    return next(iter([*named, *bases]), None)
