"""How the fields of a page read to a person: type, choices, default, limits."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import PydanticUndefined, to_jsonable_python

from orchestrator_dagster.forms.page import field_names
from orchestrator_dagster.forms.secret_fields import secret_fields


@dataclass(frozen=True)
class FieldDescription:
    """A field of a page in words.

    Attributes:
        name: its name in the input.
        type: its type, or its choices: `int`, `"Cisco" | "Nokia"`, `list[int]`.
        required: whether it has no default.
        default: the default as JSON, `None` without one. That of a field that may hold a secret is not told.
        text: title, description and limits, in one line.
    """

    name: str
    type: str
    required: bool
    default: Any
    text: str


def describe_fields(page: type[BaseModel]) -> list[FieldDescription]:
    """Describe the fields of a page, in order."""
    schema = form_schema(page)
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    descriptions = []
    keys: dict[str, str] = {}
    for key, name in field_names(page).items():
        keys.setdefault(name, key)
    for name, key in keys.items():
        about = schema["properties"].get(name, {})
        secret = name in secret_fields(page)
        default = None if secret else page.model_fields[name].get_default(call_default_factory=False)
        descriptions.append(
            FieldDescription(
                name=key,
                type=_type(about, definitions),
                required=name in required,
                default=None if default is PydanticUndefined else to_jsonable_python(default, serialize_unknown=True),
                text=_text(about),
            )
        )
    return descriptions


def form_schema(page: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a page; where there is none, one with the names of its fields.

    Fields for secrets have the format `password` and are `writeOnly`. What they are by default is not told.
    """
    try:
        schema: dict[str, Any] = _without_secret_defaults(page.model_json_schema(by_alias=False, mode="validation"))
    except PydanticInvalidForJsonSchema:
        fields = page.model_fields.items()
        return {"properties": {}, "required": [name for name, field in fields if field.is_required()]}
    definitions = schema.get("$defs", {})
    if "$ref" in schema:
        return {**definitions[schema["$ref"].removeprefix("#/$defs/")], "$defs": definitions}
    return schema


def _without_secret_defaults(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_secret_defaults(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    hidden = {"default", "examples"} if _is_secret(schema) else set[str]()
    return {key: _without_secret_defaults(part) for key, part in schema.items() if key not in hidden}


def _is_secret(schema: Any) -> bool:
    """Whether a field takes a secret, or a list or union of which one is a part."""
    if isinstance(schema, list):
        return any(map(_is_secret, schema))
    if not isinstance(schema, dict):
        return False
    if schema.get("writeOnly") and schema.get("format") == _PASSWORD:
        return True
    return any(_is_secret(schema.get(key)) for key in ("anyOf", "oneOf", "allOf", "items", "additionalProperties"))


_PASSWORD = "password"  # noqa: S105 - the name of a format
_SECRET_HINT = "a secret: what `orchestrator-dagster secret` prints, or {env: NAME}"  # noqa: S105 - a hint

_WORDS = {
    "description": "{}",
    "pattern": "matches {}",
    "format": "{}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}


def _text(schema: dict[str, Any]) -> str:
    words = [text.format(schema[key]) for key, text in _WORDS.items() if key in schema]
    if schema.get("format") == _PASSWORD:
        words = [*(word for word in words if word != _PASSWORD), _SECRET_HINT]
    of_items = _text(schema["items"]) if "items" in schema else ""
    text = "; ".join([*words, f"each {of_items}"] if of_items else words)
    return " ".join(text.split())


def _type(schema: dict[str, Any], definitions: dict[str, Any], within: tuple[str, ...] = ()) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return name if name in within else _type(definitions[name], definitions, (*within, name))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(_type(option, definitions, within) for option in schema[key])
    if "allOf" in schema:
        return " & ".join(_type(part, definitions, within) for part in schema["allOf"])
    kind: str = schema.get("type", "any")
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_type(item, definitions, within) for item in schema['prefixItems'])}]"
        return f"list[{_type(schema.get('items', {}), definitions, within)}]"
    if kind == "object" and "properties" in schema:
        fields = ", ".join(f"{name}: {_type(part, definitions, within)}" for name, part in schema["properties"].items())
        return f"{{{fields}}}"
    return _PYTHON_NAMES.get(kind, kind)


_PYTHON_NAMES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict"}
