"""What a plan asks for: a schema written by a stranger, and inputs held against it.

Both come from whoever proposes, so both are bounded before anything is tried: the
library that checks them needs time that grows with schema times inputs.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema.exceptions import ValidationError

from execfabric.lib import canonical
from execfabric.lib.canonical import NotCanonical
from execfabric.lib.schema import validator
from orchestration.plans.domain import patterns, schemas
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.patterns import LONGEST_MATCHED, LONGEST_PATTERN

Way = tuple[str | int, ...]
LARGEST_SCHEMA = 2_000
"""Keys and values in the schema of a plan's inputs."""
LARGEST_INPUTS = 256 << 10
"""Bytes of the inputs as canonical JSON."""
DEEPEST_INPUTS = 50
MOST_CHECKS = 1_000_000
"""Parts of the schema times parts of the inputs."""
MOST_STEPS = 2 * patterns.MOST_STEPS
"""Of all patterns on all texts together."""
MOST_PATTERNS = 50
_NAMED = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
"""Keywords whose keys are names, not keywords."""
_VALUES = frozenset({"const", "enum", "default", "examples", "dependentRequired"})
_WRITTEN_OUT = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor"})
_COSTLY = frozenset({"uniqueItems", "unevaluatedItems", "unevaluatedProperties"})
"""Keywords that compare all with all, or look at everything again at every level."""


def unusable(schema: Mapping[str, Any]) -> Iterator[tuple[Way, str]]:
    """Why a schema written by a proposer cannot be used: places and sentences."""
    if _size(schema) > LARGEST_SCHEMA:
        yield (), f"The schema has more than {LARGEST_SCHEMA:,} keys and values."
        return
    found = False
    for error in schemas.META.iter_errors(schema):
        found = True
        yield tuple(error.absolute_path), f"{schemas.message_of(error)}."
    if found:
        return
    if schema.get("type", "object") != "object":
        yield ("type",), "The inputs of a plan are an object."
    if sum(1 for _ in _patterns(schema)) > MOST_PATTERNS:
        yield (), f"The schema has more than {MOST_PATTERNS} patterns."
        return
    for way, key, item in _keywords(schema):
        yield from _wrong_keyword(way, key, item)


def stand_in(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A sound schema with the names of one that cannot be used, to read on with."""
    named = schema.get("properties")
    names = list(named) if isinstance(named, Mapping) else []
    return {"properties": {name: {} for name in names}, "required": names}


def wrong(schema: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> list[str]:
    """What is wrong with inputs, held against a schema that can be used."""
    if unfit := _unfit(inputs):
        return [unfit]
    known = (schema or {}).get("properties") or {}
    open_ended = {"additionalProperties", "patternProperties"} & set(schema or ())
    found = [
        f"The plan asks for no input {name!r}.{near(name, known)}"
        for name in inputs
        if name not in known and not open_ended
    ]
    if schema is None:
        return found
    found += _too_costly(schema, inputs)
    if found:
        return found
    errors, why = schemas.errors(validator(schema), dict(inputs))
    if why:
        return [f"The inputs cannot be checked: {why}."]
    return [_said(error) for error in errors]


def _said(error: ValidationError) -> str:
    """A sentence about an error that names the input it is in."""
    name = ".".join(str(part) for part in error.absolute_path)
    message = schemas.message_of(error)
    if error.validator == "required":
        absent = message.removesuffix(" is a required property")
        if not name:
            return f"The plan asks for the input {absent}."
        return f"The input {name!r} lacks {absent}."
    return f"The input {name!r}: {message}." if name else f"The inputs: {message}."


def _unfit(inputs: Mapping[str, Any]) -> str:
    """Why inputs are not even looked at; empty where they are."""
    try:
        canonical.check_depth(inputs, DEEPEST_INPUTS)
        size = len(canonical.dumps(dict(inputs)))
    except NotCanonical as error:
        return f"The inputs cannot be kept: {error}"
    if size > LARGEST_INPUTS:
        return f"The inputs have {size:,} bytes; at most {LARGEST_INPUTS:,} are taken."
    if any("$file" in part for part in _objects(inputs)):
        return "A file cannot be given as an input."
    return ""


def _too_costly(schema: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[str]:
    if _size(schema) * _size(inputs) > MOST_CHECKS:
        yield "The inputs have too many parts for so large a schema."
    costs = [patterns.steps(pattern) for pattern in _patterns(schema)]
    if not costs:
        return
    texts = [*_texts(inputs)]
    if max(map(len, texts), default=0) > LONGEST_MATCHED:
        yield (
            f"A text is longer than the {LONGEST_MATCHED} characters that a pattern is"
            f" tried on."
        )
    elif sum(costs) * len(texts) > MOST_STEPS:
        yield "The patterns would take too long on so many texts."


def _keywords(schema: Any, where: Way = ()) -> Iterator[tuple[Way, str, Any]]:
    """Every keyword in a schema, also under keys that the library does not know."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _keywords(item, (*where, index))
    if not isinstance(schema, Mapping):
        return
    for key, item in schema.items():
        way = (*where, key)
        yield way, key, item
        if key in _NAMED and isinstance(item, Mapping):
            for name, inner in item.items():
                yield from _keywords(inner, (*way, name))
        elif key not in _VALUES:
            yield from _keywords(item, way)


def _patterns(schema: Mapping[str, Any]) -> Iterator[str]:
    for _, key, item in _keywords(schema):
        if key == "pattern" and isinstance(item, str):
            yield item
        elif key == "patternProperties" and isinstance(item, Mapping):
            yield from item


def _wrong_keyword(way: Way, key: str, item: Any) -> Iterator[tuple[Way, str]]:
    if key in _WRITTEN_OUT:
        yield way, f"{key} cannot be used in the inputs of a plan; write it out."
    if key in _COSTLY:
        yield (
            way,
            f"{key} cannot be used in the inputs of a plan; it may take for ever.",
        )
    if key == "pattern" and isinstance(item, str):
        yield from ((way, why) for why in _wrong_pattern(item))
    if key == "patternProperties" and isinstance(item, Mapping):
        for name in item:
            yield from (((*way, name), why) for why in _wrong_pattern(name))


def _wrong_pattern(pattern: str) -> Iterator[str]:
    if len(pattern) > LONGEST_PATTERN:
        yield f"The pattern is longer than {LONGEST_PATTERN} characters."
        return
    try:
        steps = patterns.steps(pattern)
    except patterns.Unreadable as error:
        yield f"The pattern cannot be used: {error}."
    except (re.error, OverflowError, RecursionError) as error:
        yield f"The pattern is not valid: {error}."
    else:
        if steps > patterns.MOST_STEPS:
            yield (
                "The pattern can match the same text in too many ways; such a pattern"
                " can take for ever. Let each repetition end at a character that it"
                " cannot hold itself."
            )


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _texts(value: Any) -> Iterator[str]:
    """Every text, and every key."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from value
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _size(value: Any) -> int:
    """Keys and values in a value, itself included."""
    if isinstance(value, Mapping):
        return 1 + len(value) + sum(map(_size, value.values()))
    return 1 + (sum(map(_size, value)) if isinstance(value, list) else 0)
