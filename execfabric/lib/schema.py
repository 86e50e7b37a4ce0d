"""JSON Schema validation in which `$` in a pattern matches only at the end.

Python's `$` also matches before a line break at the end, so `^[a-z]+$` would accept
"name\\n".
"""

import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import attrs
import re2
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from rfc3986_validator import validate_rfc3986

NOTHING_ELSE: Registry[Any] = Registry()
"""An empty registry, so that the library does not fetch a remote `$ref`."""
UNUSABLE = (Unresolvable, RecursionError, re.error)
"""Errors of a validator that mean that the schema is invalid."""
FORMATS = Draft202012Validator.FORMAT_CHECKER
TIMES = FormatChecker(("date", "date-time", "time"))
TYPES: dict[type, str] = {
    bool: "boolean", int: "integer", float: "number",
    str: "string", list: "array", type(None): "null",
}  # fmt: skip
Compile = Callable[[str], Any]
_RE2 = re2.Options()
_RE2.max_mem = 1 << 20
_RE2.log_errors = False
_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$|.", re.DOTALL)


def _is_iri(value: object, rule: str) -> bool:
    if not isinstance(value, str):
        return True
    if not value.isprintable():
        return False
    # RFC 3987, 3.1: an IRI is a URI once its other characters are percent-encoded.
    ascii_only = "".join(
        letter if letter.isascii() else urllib.parse.quote(letter) for letter in value
    )
    return bool(validate_rfc3986(ascii_only, rule=rule))


# For these two the library needs rfc3987-syntax, which takes a second to import.
FORMATS.checks("iri")(partial(_is_iri, rule="URI"))
FORMATS.checks("iri-reference")(partial(_is_iri, rule="URI_reference"))


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of a schema.

    :raises re.error: if Python cannot read it
    """
    parts = _PART.findall(pattern)
    return re.compile("".join(r"\Z" if part == "$" else part for part in parts))


@lru_cache(maxsize=1024)
def linear(pattern: str) -> Any:
    """Compile a pattern for RE2, which matches in time linear in the text.

    :raises re2.error: if RE2 cannot read it, or it is too large
    """
    return re2.compile(pattern, _RE2)


def _pattern(
    compiled: Compile, validator: Any, pattern: str, value: Any, _: Any
) -> Iterator[ValidationError]:
    if validator.is_type(value, "string") and not compiled(pattern).search(value):
        yield ValidationError(f"{value!r} does not match '{pattern}'")


def _pattern_properties(
    compiled: Compile, validator: Any, patterns: Mapping[str, Any], value: Any, _: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(value, "object"):
        return
    for pattern, schema in patterns.items():
        for name, item in value.items():
            if compiled(pattern).search(name):
                yield from validator.descend(
                    item, schema, path=name, schema_path=pattern
                )


def _additional_properties(
    compiled: Compile,
    validator: Any,
    wanted: Any,
    value: Any,
    schema: Mapping[str, Any],
) -> Iterator[ValidationError]:
    patterns = schema.get("patternProperties")
    if not patterns or not validator.is_type(value, "object"):
        keyword = Draft202012Validator.VALIDATORS["additionalProperties"]
        yield from keyword(validator, wanted, value, schema) or ()
        return
    known = schema.get("properties", {})
    for name, item in value.items():
        if name in known or any(compiled(pattern).search(name) for pattern in patterns):
            continue
        if validator.is_type(wanted, "object"):
            yield from validator.descend(item, wanted, path=name)
        elif not wanted:
            listed = ", ".join(map(repr, sorted(patterns)))
            yield ValidationError(f"{name!r} does not match any of: {listed}")


def _validator_class(compiled: Compile) -> type[Draft202012Validator]:
    """Return the library's validator, with `compiled` to compile patterns."""
    made: type[Draft202012Validator] = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {
            "pattern": partial(_pattern, compiled),
            "patternProperties": partial(_pattern_properties, compiled),
            "additionalProperties": partial(_additional_properties, compiled),
        },
    )
    # The library's own changes to its standard validator at a nested `$schema`.
    made.evolve = attrs.evolve  # type: ignore[assignment, method-assign]
    return made


_Validator = _validator_class(compiled)
_LinearValidator = _validator_class(linear)


def type_of(value: Any) -> str:
    """Return the name that JSON Schema has for the type of a value."""
    return TYPES.get(type(value), "object")


def validator(schema: Mapping[str, Any], **options: Any) -> Draft202012Validator:
    """Return a draft 2020-12 validator that resolves only local `$ref`."""
    return _Validator(schema, registry=NOTHING_ELSE, **options)


def linear_validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return a validator with RE2 patterns, for untrusted schemas.

    Of the formats it checks only those of dates and times, whose cost is linear.
    """
    return _LinearValidator(schema, registry=NOTHING_ELSE, format_checker=TIMES)
