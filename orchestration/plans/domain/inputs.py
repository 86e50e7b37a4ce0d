"""The inputs of a plan: the schema in the plan, and the values for one run.

Both come from the proposer, so both are bounded before anything is checked: the time
that a check takes grows with schema times inputs. Patterns are matched by RE2, in time
linear in the text.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import re2
from jsonschema.exceptions import ValidationError

from execfabric.lib import canonical
from execfabric.lib.canonical import NotCanonical
from execfabric.lib.schema import linear, linear_validator
from orchestration.plans.domain import schemas
from orchestration.plans.domain.naming import near

Way = tuple[str | int, ...]
MAX_SCHEMA = 2_000
"""Keys and values in the schema."""
MAX_INPUTS = 256 << 10
"""Bytes of the inputs as canonical JSON."""
MAX_INPUTS_DEPTH = 50
MAX_CHECKS = 1_000_000
"""Parts of the schema times parts of the inputs."""
MAX_PATTERNS = 50
MAX_PATTERN = 200
MAX_PATTERN_WORK = 1 << 28
"""RE2 instructions of all patterns times characters of all texts: 2 seconds at most."""
_RESERVED = {
    "$file": (
        "A file cannot be written as an object. Declare the input with format: file, and"
        " give the id of an uploaded file."
    ),
    "$secret": "A secret cannot be an input. The skill's configuration names it.",
}
FILE_FORMAT = "file"
FILE_KEYS = frozenset({"type", "format", "title", "description"})
"""The keys of an input that is a file. A file has no default: its id expires."""
DEPTH_OF_INPUT = 2
_NAMED = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
"""Keywords whose keys are names, not keywords."""
_VALUES = frozenset({"const", "enum", "default", "examples", "dependentRequired"})
_REFERRING = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor"})
_COSTLY = frozenset({"uniqueItems", "unevaluatedItems", "unevaluatedProperties"})
"""Keywords that compare all items with all, or revisit everything at every level."""


def unusable(schema: Mapping[str, Any]) -> Iterator[tuple[Way, str]]:
    """Return why a plan's schema cannot be used: paths and sentences."""
    if _count(schema) > MAX_SCHEMA:
        yield (), f"The schema is too large (max {MAX_SCHEMA:,} keys and values)."
        return
    errors = [*schemas.META.iter_errors(schema)]
    for error in errors:
        yield tuple(error.absolute_path), f"{schemas.message_of(error)}."
    if errors:
        return
    if schema.get("type", "object") != "object":
        yield ("type",), "The type of 'inputs' must be 'object'."
    if sum(1 for _ in _patterns(schema)) > MAX_PATTERNS:
        yield (), f"The schema has too many patterns (max {MAX_PATTERNS})."
        return
    for way, key, item in _keywords(schema):
        yield from _keyword_problems(way, key, item)
        if key == "format" and item == FILE_FORMAT:
            yield from _file_problems(schema, way[:-1])


def file_inputs(schema: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the names of the inputs that are files.

    Their value is a file id, which is replaced by a reference before the run is stored.
    A reference that the proposer writes is refused: they could name any file.
    """
    rules = (schema or {}).get("properties")
    named = rules.items() if isinstance(rules, Mapping) else ()
    return frozenset(name for name, rule in named if is_file(rule))


def defaults_of(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the default of each input that has one."""
    properties = (schema or {}).get("properties")
    named = properties.items() if isinstance(properties, Mapping) else ()
    return {
        name: rule["default"]
        for name, rule in named
        if isinstance(rule, Mapping) and "default" in rule
    }


def is_file(rule: Any) -> bool:
    return isinstance(rule, Mapping) and rule.get("format") == FILE_FORMAT


def stand_in(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a valid schema with the input names of one that cannot be used."""
    named = schema.get("properties")
    names = list(named) if isinstance(named, Mapping) else []
    return {"properties": {name: {} for name in names}, "required": names}


def wrong(
    schema: Mapping[str, Any] | None, inputs: Mapping[str, Any], *, noun: str = "input"
) -> list[tuple[str, str]]:
    """Return the problems of inputs under a valid schema.

    Each problem is the name of its input, or "", and a sentence, which calls an input a
    `noun`.
    """
    if reason := refusal(inputs):
        return [("", reason)]
    known = (schema or {}).get("properties") or {}
    open_ended = {"additionalProperties", "patternProperties"} & set(schema or ())
    problems = [
        ("", f"Unknown {noun} {name!r}.{near(name, known)}")
        for name in inputs
        if name not in known and not open_ended
    ]
    if schema is None:
        return problems
    problems += (("", message) for message in _too_costly(schema, inputs))
    if problems:
        return problems
    errors, reason = schemas.errors(linear_validator(schema), dict(inputs))
    if reason:
        return [("", f"Cannot check the inputs: {reason}.")]
    return [_named(error, noun) for error in errors]


def refusal(inputs: Mapping[str, Any]) -> str:
    """Return why inputs cannot be stored under any schema; empty if they can."""
    try:
        canonical.check_depth(inputs, MAX_INPUTS_DEPTH)
        canonical.check_numbers(dict(inputs))
        size = len(canonical.dumps(dict(inputs)))
    except NotCanonical as error:
        return f"Cannot store the inputs: {error}"
    if size > MAX_INPUTS:
        return f"The inputs are too large: {size:,} bytes (max {MAX_INPUTS:,})."
    objects = (part for part in _parts(inputs) if isinstance(part, Mapping))
    reserved = {key for part in objects for key in part} & _RESERVED.keys()
    return _RESERVED[min(reserved)] if reserved else ""


def too_large(schema: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[str]:
    """Return why values are too large to check: sentences without their full stop."""
    size = len(canonical.dumps(dict(inputs)))
    if size > MAX_INPUTS:
        yield f"the inputs are too large ({size:,} bytes, max {MAX_INPUTS:,})"
    else:
        yield from (each.rstrip(".") for each in _too_costly(schema, inputs))


def _named(error: ValidationError, noun: str) -> tuple[str, str]:
    """Return the input that an error is in, or "", and a sentence that names it."""
    path = [str(part) for part in error.absolute_path]
    where, message = ".".join(path), schemas.message_of(error)
    if error.validator == "required":
        absent = message.removesuffix(" is a required property")
        if not path:
            return absent.strip("'"), f"Missing {noun} {absent}."
        return path[0], f"{noun.capitalize()} {where!r}: missing {absent}."
    if not path:
        return "", f"Inputs: {message}."
    return path[0], f"{noun.capitalize()} {where!r}: {message}."


def _too_costly(schema: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[str]:
    if _count(schema) * _count(inputs) > MAX_CHECKS:
        yield "The inputs have too many parts for a schema this large."
    instructions = sum(linear(each).programsize for each in _patterns(schema))
    texts = (part for part in _parts(inputs) if isinstance(part, str))
    if instructions * sum(map(len, texts)) > MAX_PATTERN_WORK:
        yield "The inputs have too much text for this many patterns."


def _keywords(schema: Any, where: Way = ()) -> Iterator[tuple[Way, str, Any]]:
    """Walk the keywords of a schema, also under keys that the library ignores."""
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


def _keyword_problems(way: Way, key: str, item: Any) -> Iterator[tuple[Way, str]]:
    if key in _REFERRING or (key == "$schema" and len(way) > 1):
        yield way, f"{key} is not allowed in the inputs of a plan. Write it out."
    if key in _COSTLY:
        yield way, f"{key} is not allowed in the inputs of a plan: it can be too slow."
    if key == "pattern" and isinstance(item, str):
        yield from ((way, message) for message in _pattern_problems(item))
    if key == "patternProperties" and isinstance(item, Mapping):
        for name in item:
            yield from (((*way, name), message) for message in _pattern_problems(name))


def _file_problems(schema: Mapping[str, Any], way: Way) -> Iterator[tuple[Way, str]]:
    if len(way) != DEPTH_OF_INPUT or way[0] != "properties":
        message = "format: file is only allowed for an input, not inside of one."
        yield (*way, "format"), message
        return
    rule = schema["properties"][way[1]]
    if rule.get("type") != "string":
        yield (*way, "format"), "An input with format: file must have type: string."
    for key in rule.keys() - FILE_KEYS:
        yield (*way, key), f"{key} is not allowed for an input with format: file."


def _pattern_problems(pattern: str) -> Iterator[str]:
    if len(pattern) > MAX_PATTERN:
        yield f"The pattern is too long (max {MAX_PATTERN} characters)."
        return
    try:
        linear(pattern)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        yield (
            f"Invalid pattern '{pattern}': {reason}. Use RE2 syntax, which has no"
            " lookaround and no backreferences."
        )


def _count(value: Any) -> int:
    return sum(1 for _ in _parts(value))


def _parts(value: Any) -> Iterator[Any]:
    """Walk a value and everything in it; the keys of an object are parts too."""
    yield value
    if isinstance(value, Mapping):
        yield from value
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _parts(item)
