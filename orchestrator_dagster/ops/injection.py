"""How the parameters of a step are filled: by name from the state, converted to the annotation."""

import inspect
import logging
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from dagster._config.pythonic_config import ConfigurableResourceFactory
from dagster._core.definitions.resource_annotation import RESOURCE_PARAM_METADATA, TreatAsResourceParam
from dagster._core.definitions.resource_definition import ResourceDefinition
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from orchestrator_dagster.domain import SUBSCRIPTION_MODEL_REGISTRY, ProductBlockModel, SubscriptionModel
from orchestrator_dagster.domain.lifecycle_validation import validate_lifecycle_class
from orchestrator_dagster.domain.secret import hiding, secrets_in, unsealed
from orchestrator_dagster.domain.state import State, copy_of
from orchestrator_dagster.errors import ConfigurationError, DefinitionError, InjectionError, StateKeyError
from orchestrator_dagster.ops.transaction import StepTransaction

_MISSING = inspect.Parameter.empty
_AMBIENT = ("state", "context", "process_id", "idempotency_key")


@dataclass(frozen=True)
class Ambient:
    """What a step may ask for by name besides the state.

    Attributes:
        context: Dagster's context of the op, `None` where no op runs (in a form).
        idempotency_key: the same on every attempt of the step in this process.
        resources: Dagster's resources by key.
        transaction: for the built-in steps.
    """

    process_id: UUID | None = None
    context: Any = None
    idempotency_key: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    transaction: StepTransaction | None = None


class _Filler(Protocol):
    def __call__(self, state: State, ambient: Ambient) -> Any: ...


class Signature:
    """The parameters of a step or form function, and how each is filled.

    Args:
        function: what will be called.

    Raises:
        DefinitionError: a parameter that can never be filled.

    Example:
        >>> def greet(name: str, times: int = 2) -> dict: return {}
        >>> Signature(greet).arguments({"name": "Ada", "times": "3"}, Ambient())
        {'name': 'Ada', 'times': 3}
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function_name = name_of(function)
        self.resource_keys: set[str] = set()
        self._fillers: dict[str, _Filler] = {}
        hints = self._hints(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise DefinitionError(f"{self.function_name}: parameter {name} must not be positional-only")
            try:
                self._fillers[name] = self._filler(name, hints.get(name, Any), parameter.default)
            except PydanticSchemaGenerationError as error:
                raise DefinitionError(f"{self.function_name}: parameter {name} cannot be filled: {error}") from error

    def arguments(self, state: State, ambient: Ambient) -> dict[str, Any]:
        """Return the arguments for a call.

        Raises:
            StateKeyError: the state lacks a key, and the parameter has no default.
            InjectionError: a value does not fit the annotation.
            LifecycleError: a subscription's status asks for another class than the annotation; see
                `LifecycleValidationMode`.
        """
        return {name: fill(state, ambient) for name, fill in self._fillers.items()}

    def _hints(self, function: Callable[..., Any]) -> dict[str, Any]:
        try:
            return get_type_hints(plain_function(function), include_extras=True)
        except NameError as error:
            raise DefinitionError(f"{self.function_name}: an annotation cannot be resolved: {error}") from error

    def _filler(self, name: str, annotation: Any, default: Any) -> _Filler:
        if name == "state":
            return lambda state, _: copy_of(state)
        if name in _AMBIENT:
            convert = _converter(name, Any if name == "context" else annotation)
            return lambda _, ambient: convert(getattr(ambient, name))
        if annotation is StepTransaction:
            return lambda _, ambient: ambient.transaction
        if is_resource(annotation):
            self.resource_keys.add(name)
            return lambda _, ambient: ambient.resources[name]
        return _StateFiller(name, annotation, default, self.function_name)


def name_of(function: Callable[..., Any]) -> str:
    """Return where a function stands, for errors."""
    plain = plain_function(function)
    return f"{plain.__module__}.{getattr(plain, '__qualname__', type(plain).__name__)}"


def plain_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with the annotations, behind a partial or an object that can be called."""
    if isinstance(function, partial):
        return plain_function(function.func)
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    call: Callable[..., Any] = type(function).__call__
    return call


def is_resource(annotation: Any) -> bool:
    """Whether a parameter so annotated is a Dagster resource, or may be one."""
    if RESOURCE_PARAM_METADATA in getattr(annotation, "__metadata__", ()):
        return True
    return any(
        isinstance(option, type)
        and issubclass(option, (ResourceDefinition, ConfigurableResourceFactory, TreatAsResourceParam))
        for option in _options(annotation)
    )


class _StateFiller:
    """Fills one parameter from the state."""

    def __init__(self, name: str, annotation: Any, default: Any, function: str) -> None:
        self._name = name
        self._annotation = annotation
        self._default = default
        self._function = function
        self._convert = _converter(name, annotation)
        self._loads = isinstance(self._convert, (_ModelLoader, _ListLoader, _BlockLoader))

    def __call__(self, state: State, ambient: Ambient) -> Any:
        value = self._find(state)
        if value is _MISSING:
            if self._default is not _MISSING:
                return self._default
            if _is_list_of_models(self._annotation):
                return []
            if _model_types(self._annotation) and _allows_none(self._annotation):
                return None
            raise StateKeyError(self._name, self._function)
        try:
            # a step that changes what it was given must not change what the next one gets; what is loaded is new
            opened = value if self._loads else unsealed(value)
        except ConfigurationError as error:
            raise InjectionError(f"Parameter '{self._name}' of {self._function} cannot be filled: {error}") from error
        try:
            found = self._convert(opened)
        except ValidationError as error:
            hide = hiding(opened)
            raise InjectionError(
                f"Could not convert value {value!r} to {_type_name(self._annotation)} "
                f"for parameter '{self._name}' of {self._function}: {hide.text(_reasons(error))}{_hint(opened)}"
            ) from hide.cause(error)
        if self._loads:
            _validate_classes(found, ambient)
        return found

    def _find(self, state: State) -> Any:
        if self._name in state:
            return state[self._name]
        if self._name == "subscription" and _model_types(self._annotation):
            return state.get("subscription_id", _MISSING)
        return _MISSING


def _validate_classes(found: Any, ambient: Ambient) -> None:
    log = ambient.context.log if ambient.context is not None else logging.getLogger(__name__)
    for model in found if isinstance(found, list) else [found]:
        if isinstance(model, SubscriptionModel):
            validate_lifecycle_class(model, SUBSCRIPTION_MODEL_REGISTRY.lifecycle_validation, log.warning)


def _converter(name: str, annotation: Any) -> Callable[[Any], Any]:
    if annotation is Any:
        return lambda value: value
    if models := _model_types(annotation):
        if len({model.__base_type__ for model in models}) > 1:
            raise DefinitionError(
                f"Union type for parameter '{name}' must consist of lifecycle variants of the same "
                f"SubscriptionModel base type, got {_type_name(annotation)}"
            )
        load_one = _ModelLoader(name, models, optional=_allows_none(annotation))
        return _ListLoader(name, load_one, annotation) if _is_list_of_models(annotation) else load_one
    block = next((option for option in _options(annotation) if _is_block(option)), None)
    if block is not None:
        return _BlockLoader(name, block, optional=_allows_none(annotation))
    return TypeAdapter(annotation).validate_python


def _is_block(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, ProductBlockModel)


@dataclass(frozen=True)
class _BlockLoader:
    name: str
    block: type[ProductBlockModel]
    optional: bool

    def __call__(self, value: Any) -> ProductBlockModel | None:
        block_id = _id_in(value, "subscription_instance_id")
        if block_id is None and self.optional:
            return None
        try:
            block_id = UUID(str(block_id))
        except ValueError as error:
            raise InjectionError(f"Parameter '{self.name}' needs the id of a block, got {block_id!r}") from error
        return self.block.from_db(block_id)


@dataclass(frozen=True)
class _ListLoader:
    name: str
    load_one: "_ModelLoader"
    annotation: Any

    def __call__(self, items: Any) -> list[SubscriptionModel | None] | None:
        if items is None and _allows_none(self.annotation):
            return None
        if not isinstance(items, list):
            raise InjectionError(f"Parameter '{self.name}' needs a list of subscriptions, got {type(items).__name__}")
        return [self.load_one(item) for item in items]


@dataclass(frozen=True)
class _ModelLoader:
    name: str
    models: tuple[type[SubscriptionModel], ...]
    optional: bool

    def __call__(self, value: Any) -> SubscriptionModel | None:
        subscription_id = _id_in(value, "subscription_id")
        if subscription_id is None and self.optional:
            return None
        try:
            subscription_id = UUID(str(subscription_id))
        except ValueError as error:
            raise InjectionError(
                f"Parameter '{self.name}' needs the id of a subscription, got {type(value).__name__}"
            ) from error
        if len(self.models) == 1:
            return self.models[0].from_subscription(subscription_id)
        loaded = SubscriptionModel.from_subscription(subscription_id)
        if not isinstance(loaded, self.models):
            expected = [model.__name__ for model in self.models]
            raise InjectionError(
                f"Loaded subscription model of type {type(loaded).__name__} for parameter '{self.name}' "
                f"does not match any of the expected types {expected}"
            )
        return loaded


def _id_in(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else value


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _allows_none(annotation: Any) -> bool:
    return type(None) in _options(annotation)


def _is_list_of_models(annotation: Any) -> bool:
    return any(get_origin(option) is list and _model_types(get_args(option)[0]) for option in _options(annotation))


def _model_types(annotation: Any) -> tuple[type[SubscriptionModel], ...]:
    """Return the subscription classes of a model, an optional one, a union of them, or a list of any of these."""
    found: list[type[SubscriptionModel]] = []
    for option in _options(annotation):
        if option is type(None):
            continue
        if get_origin(option) is list:
            found += _model_types(get_args(option)[0])
        elif isinstance(option, type) and issubclass(option, SubscriptionModel):
            found.append(option)
        else:
            return ()
    return tuple(found)


def _hint(opened: Any) -> str:
    kinds = sorted({type(secret).__name__ for secret in secrets_in(opened)})
    return f". What is secret comes as {' or '.join(kinds)}: annotate it so" if kinds else ""


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, details["loc"])), details["msg"]))) for details in error.errors()
    )


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
