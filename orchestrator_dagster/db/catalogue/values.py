"""The values of a field in one class of a model: which stored ones it can load, and what it stores."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from orchestrator_dagster.db.catalogue.types import allows_none, type_text
from orchestrator_dagster.db.exact_json import same_json
from orchestrator_dagster.domain.fields import ValueField
from orchestrator_dagster.domain.stored import NO_FILL, StoredBlock
from orchestrator_dagster.errors import ModelError


@dataclass(frozen=True)
class FieldValues:
    """The values of a field in one class of a model."""

    field: ValueField

    @cached_property
    def type_text(self) -> str:
        """The text of its type."""
        return type_text(self.field.info.rebuild_annotation())

    @property
    def allows_none(self) -> bool:
        """Whether there may be no value."""
        return allows_none(self.type_text)

    @property
    def default(self) -> Any:
        """What stands where no value was given: a constant, a function of a stored block, or `NO_FILL`.

        A default of `None` is none: a value that is not stored is the same.
        """
        info = self.field.info
        if info.default_factory is not None:
            return self._made
        if info.is_required() or (info.default is None and self.allows_none):
            return NO_FILL
        return info.default

    def load(self, data: Any) -> Any:
        """Return the value that is stored as some JSON, as the model has it.

        Raises:
            ModelError: it is not valid.
        """
        return self._valid(self.field.codec.load(data))

    def dump(self, value: Any) -> Any:
        """Return a value as the JSON that is stored, validated first.

        Raises:
            ModelError: it is not valid, or cannot be stored.
        """
        return self.field.codec.dump(self._valid(value))

    def fits(self, data: Any) -> bool:
        """Whether stored JSON can be loaded."""
        try:
            self.load(data)
        except ModelError:
            return False
        return True

    def is_as_saved(self, data: Any) -> bool:
        """Whether stored JSON is what a save writes: a number in text can be loaded, but is not found as a number."""
        try:
            return same_json(self.field.codec.dump(self.load(data)), data)
        except ModelError:
            return False

    def stays(self, data: Any) -> bool:
        """Whether stored JSON is not written anew: it is as a save writes it, or cannot be loaded."""
        return self.is_as_saved(data) or not self.fits(data)

    def _made(self, block: StoredBlock) -> Any:
        return self.field.info.get_default(call_default_factory=True, validated_data=dict(block.values))

    def _valid(self, value: Any) -> Any:
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            raise ModelError("; ".join(problem["msg"] for problem in error.errors(include_url=False))) from error

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        annotation = self.field.info.rebuild_annotation()
        try:
            return TypeAdapter(annotation, config=self.field.config)
        except PydanticUserError:  # the type has a configuration of its own
            return TypeAdapter(annotation)
