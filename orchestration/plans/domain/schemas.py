"""Read JSON Schemas: errors, parts and types, without fetching anything."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from execfabric.lib.schema import UNUSABLE, type_of

MAX_MESSAGE = 300
MAX_ERRORS = 100
META = Draft202012Validator(Draft202012Validator.META_SCHEMA)


def errors(
    checker: Draft202012Validator, value: Any
) -> tuple[list[ValidationError], str]:
    """Return the first errors of a value, and why the schema cannot be used."""
    try:
        return list(islice(checker.iter_errors(value), MAX_ERRORS)), ""
    except UNUSABLE as error:
        return [], str(error).partition("\n")[0] or type(error).__name__


def message_of(error: ValidationError) -> str:
    """Return the library's sentence, shortened: it repeats the whole value."""
    text = error.message
    if len(text) > MAX_MESSAGE:
        text = text[: MAX_MESSAGE - 1] + "…"
    return text.rstrip(".")


def within(
    schema: Mapping[str, Any], path: Sequence[str | int]
) -> Mapping[str, Any] | None:
    """Return the schema of a part; {} if open, None if the part cannot exist."""
    for part in path:
        deeper = _into(schema, part)
        if deeper is None or not deeper:
            return deeper
        schema = deeper
    return schema


def _into(schema: Mapping[str, Any], part: str | int) -> Mapping[str, Any] | None:
    known = types(schema)
    properties = schema.get("properties") or {}
    if part in properties:
        return _schema(properties[part])
    if str(part).isdecimal() and (not known or "array" in known):
        prefix = schema.get("prefixItems") or []
        index = int(part)
        return _schema(prefix[index] if index < len(prefix) else schema.get("items"))
    if known and "object" not in known:
        return None
    if schema.get("patternProperties"):
        return {}
    return _schema(schema.get("additionalProperties"))


def _schema(value: Any) -> Mapping[str, Any] | None:
    """Return a subschema as a mapping: None for False, {} for True or nothing."""
    if value is False:
        return None
    return value if isinstance(value, Mapping) else {}


def types(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the types that a schema allows; empty if any type is allowed."""
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return frozenset({kinds})
    if isinstance(kinds, list):
        return frozenset(kind for kind in kinds if isinstance(kind, str))
    if "const" in schema:
        return frozenset({type_of(schema["const"])})
    if isinstance(schema.get("enum"), list):
        return frozenset(type_of(item) for item in schema["enum"])
    for word in ("anyOf", "oneOf"):
        branches = schema.get(word)
        if isinstance(branches, list):
            return _union(branches)
    return frozenset()


def _union(branches: Iterable[Any]) -> frozenset[str]:
    each = [
        types(item) if isinstance(item, Mapping) else frozenset() for item in branches
    ]
    return frozenset().union(*each) if all(each) else frozenset()


def mismatch(offer: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return why a value of `offer` never fits `wanted`; empty if it might fit."""
    offered, accepted = types(offer), types(wanted)
    if "number" in accepted:
        accepted |= {"integer"}
    if "integer" in accepted:
        # A number may be an integer; only the run can tell.
        accepted |= {"number"}
    if not offered or not accepted:
        return ""
    if not offered & accepted:
        return f"type {_or(offered)}, but {_or(types(wanted))} is required here"
    if offered == accepted == {"object"}:
        absent = [
            name
            for name in wanted.get("required", ())
            if within(offer, (name,)) is None
        ]
        if absent:
            return f"never has {absent[0]!r}, which is required here"
    if offered == accepted == {"array"}:
        items = [_schema(each.get("items")) or {} for each in (offer, wanted)]
        reason = mismatch(*items)
        return f"its items: {reason}" if reason else ""
    return ""


def _or(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))
