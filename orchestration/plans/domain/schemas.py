"""JSON Schemas, read with care: nothing is fetched."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from execfabric.lib.schema import UNUSABLE

LONGEST_MESSAGE = 300
MOST_ERRORS = 100
META = Draft202012Validator(Draft202012Validator.META_SCHEMA)


def errors(
    checker: Draft202012Validator, value: Any
) -> tuple[list[ValidationError], str]:
    """The first errors of a value, and why the schema itself could not be used."""
    try:
        return list(islice(checker.iter_errors(value), MOST_ERRORS)), ""
    except UNUSABLE as error:
        said = str(error).splitlines() or [type(error).__name__]
        return [], said[0]


def message_of(error: ValidationError) -> str:
    """The library's sentence, shortened: it repeats the value, however large."""
    text = error.message
    if len(text) > LONGEST_MESSAGE:
        text = text[: LONGEST_MESSAGE - 1] + "…"
    return text.rstrip(".")


def within(
    schema: Mapping[str, Any], path: Sequence[str | int]
) -> Mapping[str, Any] | None:
    """The schema of a part: {} where nothing is said, None where it cannot be."""
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
    """A subschema as a mapping: False admits nothing, True and absence anything."""
    if value is False:
        return None
    return value if isinstance(value, Mapping) else {}


def types(schema: Mapping[str, Any]) -> frozenset[str]:
    """The types that a schema admits; empty where it does not say."""
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return frozenset({kinds})
    if isinstance(kinds, list):
        return frozenset(kind for kind in kinds if isinstance(kind, str))
    if "const" in schema:
        return frozenset({_type_of(schema["const"])})
    if isinstance(schema.get("enum"), list):
        return frozenset(_type_of(item) for item in schema["enum"])
    for word in ("anyOf", "oneOf"):
        branches = schema.get(word)
        if isinstance(branches, list):
            return _union(branches)
    return frozenset()


def _union(branches: Iterable[Any]) -> frozenset[str]:
    found: set[str] = set()
    for branch in branches:
        kinds = types(branch) if isinstance(branch, Mapping) else frozenset()
        if not kinds:
            return frozenset()
        found |= kinds
    return frozenset(found)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {
        bool: "boolean", int: "integer", float: "number",
        str: "string", list: "array",
    }  # fmt: skip
    return kinds.get(type(value), "object")


def mismatch(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Why what is given can never be what is wanted; empty where it might be."""
    offered, accepted = types(given), types(wanted)
    if "number" in accepted:
        accepted |= {"integer"}
    if "integer" in accepted:
        # A number may be a whole one; only the run can tell.
        accepted |= {"number"}
    if not offered or not accepted:
        return ""
    if not offered & accepted:
        return f"it is {_or(offered)}, and {_or(types(wanted))} is wanted here"
    if offered == accepted == {"object"}:
        absent = [name for name in wanted.get("required", ()) if _never(given, name)]
        if absent:
            return f"it never has {absent[0]!r}, which is required here"
    if offered == accepted == {"array"}:
        inner = mismatch(
            _schema(given.get("items")) or {}, _schema(wanted.get("items")) or {}
        )
        return f"of its items: {inner}" if inner else ""
    return ""


def _never(schema: Mapping[str, Any], name: str) -> bool:
    return within(schema, (name,)) is None


def _or(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))
