"""Check resolved parameters against an action's input schema.

Messages name the parameter and what the schema expects, never the value: it may come
from a step whose output not everyone may see.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestration.skills.domain.contract import ActionContract

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MOST_PROBLEMS = 5
LONGEST = 200

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "text",
}
_EXPECTED = {
    "const": "be {}",
    "enum": "be one of {}",
    "exclusiveMaximum": "be less than {}",
    "exclusiveMinimum": "be more than {}",
    "format": "be a valid {}",
    "maxItems": "have at most {} items",
    "maxLength": "have at most {} characters",
    "maxProperties": "have at most {} properties",
    "maximum": "be at most {}",
    "minItems": "have at least {} items",
    "minLength": "have at least {} characters",
    "minProperties": "have at least {} properties",
    "minimum": "be at least {}",
    "multipleOf": "be a multiple of {}",
    "pattern": "match {}",
}


def input_problems(action: ActionContract, params: Mapping[str, Any]) -> list[str]:
    """Return where params do not fit the input schema of an action."""
    from execfabric.lib.schema import UNUSABLE  # noqa: PLC0415  slow to import

    try:
        errors = islice(action.input_validator.iter_errors(params), MOST_PROBLEMS)
        clauses = [_clause(error) for error in errors if not _is_secret(error.instance)]
    except UNUSABLE as error:
        return [f"its input schema cannot be used ({type(error).__name__})"]
    return list(dict.fromkeys(clauses))


def _is_secret(value: Any) -> bool:
    """Return True for a secret: its value is only known in the worker."""
    return isinstance(value, Mapping) and set(value) == {"$secret"}


def _clause(error: "ValidationError") -> str:
    from execfabric.lib.schema import type_of  # noqa: PLC0415  slow to import

    name = ".".join(map(str, error.absolute_path)) or "params"
    keyword = str(error.validator)
    wanted: Any = error.validator_value
    instance: Any = error.instance
    schema: Any = error.schema
    if keyword == "required":
        absent = ", ".join(key for key in wanted if key not in instance)
        return f"{name} must have {absent}"
    if keyword == "type":
        return f"{name} must be {_kind(schema)}, not {_TYPES[type_of(instance)]}"
    if keyword == "None":
        # A schema that is `false`; the library does not say for which key.
        return f"{name} has a value that is not allowed"
    if keyword in {"anyOf", "oneOf"} and (options := sorted(set(_options(error)))):
        return f"{name} must be {' or '.join(options)}"
    if keyword == "additionalProperties" and wanted is False:
        known = ", ".join(schema.get("properties", {})) or "none"
        return f"{name} has an unknown property (known: {known})"[:LONGEST]
    limit = wanted if isinstance(wanted, str) else json.dumps(wanted)
    expected = _EXPECTED.get(keyword, f"satisfy {keyword}").format(_short(limit))
    return f"{name} must {expected}"


def _options(error: "ValidationError") -> Iterator[str]:
    alternatives: Any = error.validator_value
    for schema in alternatives:
        if isinstance(schema, Mapping) and "type" in schema:
            yield _kind(schema)


def _kind(schema: Mapping[str, Any]) -> str:
    if "$file" in schema.get("properties", {}):
        return "a file"
    kinds = schema["type"]
    names = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_TYPES.get(name, name) for name in names)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
