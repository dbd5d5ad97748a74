"""Which fields of a model hold blocks, and which hold values."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard, Union, get_args, get_origin

from annotated_types import Len, MaxLen, MinLen
from pydantic import AliasChoices, BaseModel, ConfigDict, EncodedBytes, EncodedStr, Field, Json
from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType

from orchestrator_dagster.domain.lifecycle import check_field_lifecycle
from orchestrator_dagster.domain.values import ValueCodec
from orchestrator_dagster.errors import DefinitionError

if TYPE_CHECKING:
    from orchestrator_dagster.domain.block import ProductBlockModel
    from orchestrator_dagster.domain.model import DomainModel


@dataclass(frozen=True)
class BlockField:
    """A field that holds blocks.

    Attributes:
        name: the attribute.
        key: the name under which the relation is stored.
        types: the classes that its blocks may have, as declared.
        many: it holds a list.
        optional: it may be `None`.
        min_length: the least number of blocks in a list.
        max_length: the greatest number; `None` where there is none.
        info: pydantic's view of the field.
    """

    name: str
    key: str
    types: tuple[type["ProductBlockModel"], ...]
    many: bool
    optional: bool
    min_length: int
    max_length: int | None
    info: FieldInfo


@dataclass(frozen=True)
class ValueField:
    """A field that holds a value: a resource type of a block or a fixed input of a subscription.

    Attributes:
        name: the attribute.
        key: the name under which the value is stored.
        info: pydantic's view of the field.
        config: the configuration of the model that the field belongs to.
    """

    name: str
    key: str
    info: FieldInfo
    config: ConfigDict

    @cached_property
    def codec(self) -> ValueCodec:
        """How its values become JSON and come back."""
        annotation = self.info.rebuild_annotation()
        if self.info.discriminator is not None:
            annotation = Annotated[annotation, Field(discriminator=self.info.discriminator)]
        return ValueCodec(annotation, self.config)

    @cached_property
    def none_if_missing(self) -> bool:
        """Whether a value that was never stored is read as `None`: there is no default, and `None` is allowed."""
        bare, _ = _strip(self.info.annotation)
        return self.info.is_required() and (bare in (Any, NoneType) or NoneType in _members(bare))


@dataclass(frozen=True)
class ModelFields:
    """The fields of a model, by attribute."""

    blocks: Mapping[str, BlockField]
    values: Mapping[str, ValueField]


@cache
def fields_of(model: type["DomainModel"]) -> ModelFields:
    """Return the fields that a model's authors declared, those it inherits included.

    Args:
        model: a class of blocks or subscriptions.

    Raises:
        DefinitionError: a field holds blocks in a way that cannot be stored, or its type is not defined yet.
        LifecycleError: a block type does not suit the lifecycle statuses of the model.
    """
    if not model.__pydantic_complete__ and not model.model_rebuild(raise_errors=False):
        raise DefinitionError(f"{model} refers to types that are not defined; call `{model.__name__}.model_rebuild()`")
    blocks: dict[str, BlockField] = {}
    values: dict[str, ValueField] = {}
    for name, info in model.model_fields.items():
        if name in model.framework_fields():
            continue
        block_field = _block_field(model, name, info)
        if block_field:
            check_field_lifecycle(name, block_field.types, model.__lifecycles__)
            blocks[name] = block_field
        else:
            _refuse_encoded(model, name, info)
            values[name] = ValueField(name, _key(name, info), info, model.model_config)
    return ModelFields(blocks, values)


def is_block(annotation: Any) -> TypeGuard[type["ProductBlockModel"]]:
    """Whether an annotation is a class of blocks."""
    return isinstance(annotation, type) and getattr(annotation, "__domain_kind__", None) == "block"


@dataclass(frozen=True)
class _Shape:
    types: tuple[Any, ...] = ()
    many: bool = False
    optional: bool = False
    min_length: int = 0
    max_length: int | None = None


def _block_field(model: type, name: str, info: FieldInfo) -> BlockField | None:
    shape = _shape(info.rebuild_annotation())
    if shape is None:
        if _hides_model(info.annotation, set()):
            raise DefinitionError(
                f"{model.__qualname__}.{name}: blocks can be held as one block, an optional block, a union of blocks "
                f"or a list of them, but not as {info.annotation}"
            )
        return None
    return BlockField(name=name, key=_key(name, info), info=info, **vars(shape))


def _refuse_encoded(model: type, name: str, info: FieldInfo) -> None:
    bare, metadata = _strip(info.rebuild_annotation())
    if any(item is Json or isinstance(item, Json | EncodedBytes | EncodedStr) for item in [bare, *metadata]):
        raise DefinitionError(
            f"{model.__qualname__}.{name}: a type that decodes what it is given cannot be validated twice, as models "
            "are; declare the decoded type"
        )


def _shape(annotation: Any) -> _Shape | None:
    bare, metadata = _strip(annotation)
    if is_block(bare):
        return _Shape((bare,))
    if get_origin(bare) is list:
        (item,) = get_args(bare)
        inner = _shape(item)
        if inner is None or inner.many or inner.optional:
            return None
        return _Shape(inner.types, many=True, min_length=_min_length(metadata), max_length=_max_length(metadata))
    members = _members(bare)
    shapes = [_shape(member) for member in members if member is not NoneType]
    found = [shape for shape in shapes if shape is not None]
    if not found or len(found) != len(shapes) or len({shape.many for shape in found}) > 1:
        return None
    return _Shape(
        types=tuple(dict.fromkeys(block_type for shape in found for block_type in shape.types)),
        many=found[0].many,
        optional=NoneType in members or any(shape.optional for shape in found),
        min_length=max(_min_length(metadata), min(shape.min_length for shape in found)),
        max_length=min(filter(None, [_max_length(metadata), *(shape.max_length for shape in found)]), default=None),
    )


def _strip(annotation: Any) -> tuple[Any, list[Any]]:
    """Take off `Annotated` and type aliases."""
    if isinstance(annotation, TypeAliasType):
        return _strip(annotation.__value__)
    origin = get_origin(annotation)
    if isinstance(origin, TypeAliasType):
        return _strip(origin.__value__[get_args(annotation)])
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        bare, inner_metadata = _strip(inner)
        return bare, [*inner_metadata, *metadata]
    return annotation, []


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()


def _min_length(metadata: Iterable[Any]) -> int:
    lengths = [item.min_length for item in _flat(metadata) if isinstance(item, Len | MinLen)]
    return max(lengths, default=0)


def _max_length(metadata: Iterable[Any]) -> int | None:
    lengths = [item.max_length for item in _flat(metadata) if isinstance(item, Len | MaxLen)]
    return min((length for length in lengths if length is not None), default=None)


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _hides_model(annotation: Any, seen: set[int]) -> bool:
    """Whether blocks or subscriptions are inside of something that is not a field of blocks."""
    bare, _ = _strip(annotation)
    if id(bare) in seen:
        return False
    seen.add(id(bare))
    if isinstance(bare, type) and hasattr(bare, "__domain_kind__"):
        return True
    inner: list[Any] = list(get_args(bare))
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        inner += [info.annotation for info in bare.model_fields.values()]
    elif isinstance(bare, type) and is_dataclass(bare):
        inner += list(bare.__annotations__.values())
    return any(_hides_model(item, seen) for item in inner)


def _key(name: str, info: FieldInfo) -> str:
    alias = info.validation_alias or info.alias
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else name
