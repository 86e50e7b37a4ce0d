"""JSON Schemas, read with care: nothing is fetched, and no pattern runs for ever."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

Way = tuple[str | int, ...]
NOTHING_ELSE: Registry[Any] = Registry()
"""No schema but the one at hand: left to itself the library would fetch a `$ref`."""
LONGEST_MESSAGE = 300
LONGEST_PATTERN = 200
LONGEST_MATCHED = 256
"""Characters of an input that a pattern is tried on."""
MOST_REPETITIONS = 3
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.", re.DOTALL)
_OPEN_ENDED = re.compile(r"[*+]|\{\d*,\d*\}")
_META = Draft202012Validator(Draft202012Validator.META_SCHEMA)
_NAMED = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose keys are names, not keywords."""
_VALUES = frozenset({"const", "enum", "default", "examples"})
_NO_CHARACTER = frozenset("()?*+^$|")
"""Pieces of a pattern that match nothing by themselves."""
_REFERRING = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor"})


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """A validator that resolves references inside the schema only."""
    return Draft202012Validator(schema, registry=NOTHING_ELSE)


def errors(
    checker: Draft202012Validator, value: Any
) -> tuple[list[ValidationError], str]:
    """The errors of a value, and why the schema itself could not be used."""
    try:
        return list(checker.iter_errors(value)), ""
    except (Unresolvable, RecursionError, re.error) as error:
        said = str(error).splitlines() or [type(error).__name__]
        return [], said[0]


def unusable(schema: Mapping[str, Any]) -> Iterator[tuple[Way, str]]:
    """Why a schema written by a proposer cannot be used: places and sentences."""
    found = False
    for error in _META.iter_errors(schema):
        found = True
        yield tuple(error.absolute_path), f"{message_of(error)}."
    if found:
        return
    if schema.get("type", "object") != "object":
        yield ("type",), "The inputs of a plan are an object."
    yield from _untrusted(schema)


def _untrusted(value: Any, where: Way = ()) -> Iterator[tuple[Way, str]]:
    """What a schema asks for that is not done for a stranger's schema."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _untrusted(item, (*where, index))
    if not isinstance(value, Mapping):
        return
    inside = where[-1] if where else ""
    for key, item in value.items():
        way = (*where, key)
        if inside == "patternProperties":
            yield from ((way, why) for why in _wrong_pattern(key))
        elif inside not in _NAMED:
            yield from ((way, why) for why in _wrong_keyword(key, item))
            if key in _VALUES:
                continue
        yield from _untrusted(item, way)


def _wrong_keyword(key: str, item: Any) -> Iterator[str]:
    if key in _REFERRING:
        yield f"{key} cannot be used in the inputs of a plan; write it out."
    if key == "pattern":
        yield from _wrong_pattern(item)


def _wrong_pattern(pattern: str) -> Iterator[str]:
    if len(pattern) > LONGEST_PATTERN:
        yield f"The pattern is longer than {LONGEST_PATTERN} characters."
        return
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield f"The pattern is not valid: {error}."
        return
    if explodes(pattern):
        yield (
            "The pattern repeats a group that holds a repetition or a choice; such"
            " a pattern can take for ever."
        )


def too_long_to_match(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a schema with patterns meets a text longer than LONGEST_MATCHED."""
    return _longest(value) > LONGEST_MATCHED and _has_pattern(schema)


def _longest(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return max((max(len(k), _longest(v)) for k, v in value.items()), default=0)
    if isinstance(value, list):
        return max(map(_longest, value), default=0)
    return 0


def _has_pattern(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        named = {"pattern", "patternProperties"} & set(schema)
        return bool(named) or any(map(_has_pattern, schema.values()))
    return isinstance(schema, list) and any(map(_has_pattern, schema))


def explodes(pattern: str) -> bool:
    """Whether a pattern may need exponential time, judged on the safe side.

    Python's matcher backtracks. It explodes on a repeated group with a repetition or
    a choice inside, unless each round begins with a mark that cannot occur later in
    it, and on a long row of open repetitions.
    """
    pieces = _TOKEN.findall(pattern)
    if sum(bool(_OPEN_ENDED.fullmatch(piece)) for piece in pieces) > MOST_REPETITIONS:
        return True
    starts: list[int] = []
    for index, piece in enumerate(pieces):
        if piece == "(":
            starts.append(index)
        elif piece == ")" and starts:
            body = pieces[starts.pop() + 1 : index]
            repeated = _OPEN_ENDED.fullmatch("".join(pieces[index + 1 : index + 2]))
            if repeated and not _one_way(body):
                return True
    return False


def _one_way(body: Sequence[str]) -> bool:
    """Whether the rounds of a repeated group can be told apart in one way only."""
    inner = [*body[2:]] if list(body[:2]) == ["?", ":"] else [*body]
    if not any(_OPEN_ENDED.fullmatch(token) for token in inner) and "|" not in inner:
        return True
    mark = inner[0].removeprefix("\\")
    literal = not mark.isalnum() and (inner[0] != mark or mark not in "([.^$*+?{")
    if "|" in inner or len(mark) != 1 or not literal:
        return False
    if inner[1:2] and (inner[1] == "?" or _OPEN_ENDED.fullmatch(inner[1])):
        return False
    rest = [piece for piece in inner[1:] if piece not in _NO_CHARACTER]
    return not any(
        re.fullmatch(piece, mark) for piece in rest if not _OPEN_ENDED.fullmatch(piece)
    )


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
        return frozenset(kinds)
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
