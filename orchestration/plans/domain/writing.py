"""Write values as the YAML or JSON of a plan, in one line or in several."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.plans.domain import source
from orchestration.plans.domain.problem import ERROR
from orchestration.plans.domain.tokens import is_json

INDENT = 2
_WIDTH = 88
_AS_ESCAPES = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class TypedScalar:
    """A number, word or quoted text as it was typed, and its value."""

    text: str
    value: Any


def inline(value: Any, *, as_json: bool = False, in_flow: bool = True) -> str:
    """Return a value in one line. Outside of brackets fewer texts need quotes."""
    if isinstance(value, TypedScalar):
        return _as_typed(value, as_json=as_json, in_flow=in_flow)
    if as_json:
        return _escaped(value)
    if isinstance(value, Mapping):
        parts = (f"{inline(key)}: {inline(item)}" for key, item in value.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    if isinstance(value, str):
        return _text(value, in_flow=in_flow)
    return json.dumps(value)


def entry(key: str, value: Any, column: int) -> str:
    """Return a key and its value as lines. The first line has no indent."""
    name, below = inline(key), column + INDENT
    if isinstance(value, Mapping) and value:
        lines = (" " * below + entry(k, item, below) for k, item in value.items())
        return f"{name}:\n" + "\n".join(lines)
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        lines = (f"{' ' * below}- {inline(item)}" for item in value)
        return f"{name}:\n" + "\n".join(lines)
    if isinstance(value, str) and "\n" in value:
        return f"{name}: {_lines(value, below)}"
    return f"{name}: {inline(value, in_flow=False)}"


def item(value: Mapping[str, Any], column: int) -> str:
    """Return an object as an item of a list, of which the dash is in this column."""
    below = column + INDENT
    lines = (entry(key, part, below) for key, part in value.items())
    return "- " + f"\n{' ' * below}".join(lines)


def folded(value: str, column: int) -> str:
    """Return a text without line ends as lines that YAML joins; in one if it cannot."""
    pad = " " * column
    lines = textwrap.wrap(
        value, _WIDTH - column, break_long_words=False, break_on_hyphens=False
    )
    made = ">-\n" + "\n".join(pad + line for line in lines)
    return made if _reads_as(f"k: {made}", value) else inline(value, in_flow=False)


def indented(text: str, column: int) -> str:
    """Indent all lines but the first, and no empty ones."""
    first, *others = text.split("\n")
    pad = " " * column
    return "\n".join([first, *(pad + line if line.strip() else "" for line in others)])


def dedented(text: str, column: int) -> str:
    """Remove an indent from all lines but the first, where they have it."""
    first, *others = text.split("\n")
    pad = re.compile(rf" {{0,{column}}}")
    return "\n".join([first, *(pad.sub("", line, count=1) for line in others)])


def _text(value: str, *, in_flow: bool) -> str:
    if (
        value
        and "\n" not in value
        and _reads_as(_around(value, in_flow=in_flow), value)
    ):
        return value
    quoted = "'" + value.replace("'", "''") + "'"
    if value.isprintable() and _reads_as(f"k: {quoted}", value):
        return quoted
    return _escaped(value)


def _as_typed(typed: TypedScalar, *, as_json: bool, in_flow: bool) -> str:
    """Return what was typed, if it has the same value at its new place."""
    text, value = typed.text, typed.value
    around = _around(text, in_flow=in_flow)
    is_same = source.parse(around).value in _expected(value)
    if is_json(text) if as_json else is_same:
        return text
    return inline(value, as_json=as_json, in_flow=in_flow)


def _escaped(value: Any) -> str:
    """Return a value as JSON, without the characters that a plan may not contain."""
    escaped = json.dumps(value, ensure_ascii=False, default=lambda typed: typed.value)
    return _AS_ESCAPES.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped)


def _around(value: str, *, in_flow: bool) -> str:
    return f"{{k: {value}, l: [{value}]}}" if in_flow else f"k: {value}"


def _lines(value: str, column: int) -> str:
    """Return a text of several lines as a block, or in quotes if it cannot be one."""
    body, pad = value.removesuffix("\n"), " " * column
    head = "|" if value.endswith("\n") else "|-"
    lines = (pad + line if line else "" for line in body.split("\n"))
    made = f"{head}\n" + "\n".join(lines)
    is_same = _reads_as(f"k: {made}\n", value)
    return made if is_same else _text(value, in_flow=True)


def _reads_as(text: str, value: Any) -> bool:
    """Return True if a text is read as this text, and not as one that is refused."""
    found = source.parse(text)
    parsed = found.value
    return (
        isinstance(parsed, dict)
        and parsed in _expected(value)
        and isinstance(parsed["k"], str)
        and all(each.severity != ERROR for each in found.problems)
    )


def _expected(value: Any) -> Sequence[Any]:
    return ({"k": value}, {"k": value, "l": [value]})
