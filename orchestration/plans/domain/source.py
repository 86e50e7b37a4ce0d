"""Read text as a value with positions: YAML 1.2 and JSON, strictly and within limits.

Scalars follow the YAML 1.2 core schema: `NO`, `on` and dates are text, `012` is
twelve. Everything wrong is returned as problems; nothing is raised.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

from execfabric.lib.canonical import LARGEST_SAFE_INTEGER
from execfabric.lib.text import position_of
from orchestration.plans.domain.problem import (
    ERROR,
    TEXT,
    WARNING,
    Path,
    Problem,
    Problems,
)
from orchestration.plans.domain.tokens import (
    PlanToken,
    Unreadable,
    is_json,
    json_tokens,
    yaml_tokens,
)

MAX_BYTES = 4 << 20
MAX_YAML_BYTES = 1 << 20
"""YAML is written by hand; JSON comes from programs, so its limit is higher."""
MAX_DEPTH = 50
MAX_VALUES = 250_000
_CONDITIONS = frozenset({"when", "if"})

_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_MAX_NUMBER = 400
_MAX_QUOTE = 40
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_HIDDEN = re.compile(
    r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)


@dataclass(frozen=True)
class Parsed:
    """The value of a document, the positions of its parts, and problems so far.

    The position of an entry of a mapping is that of its key.
    """

    value: Any = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def parse(text: str | bytes) -> Parsed:
    try:
        return _read(_decoded(text))
    except Unreadable as error:
        return Parsed(problems=(error.problem,))


def _decoded(text: str | bytes) -> str:
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(body) > MAX_BYTES:
        message = f"The document is too large: {len(body):,} bytes (max {MAX_BYTES:,})."
        raise Unreadable("plan.too_large", message)
    if isinstance(text, bytes):
        text = _utf8(text)
    text = text.removeprefix("\ufeff")
    if wrong := _CONTROL.search(text) or _SURROGATE.search(text):
        message = f"The character U+{ord(wrong[0]):04X} is not allowed in a plan."
        raise Unreadable("plan.not_text", message, *position_of(text, wrong.start()))
    return text


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        before = body[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"Byte {error.start} is not valid UTF-8."
        raise Unreadable("plan.not_text", message, line, column) from error


def _read(text: str) -> Parsed:
    if text.lstrip(" \t\r\n")[:1] in {"{", "["} and is_json(text):
        return _Builder(json_tokens(text)).build()
    if (size := len(text.encode())) > MAX_YAML_BYTES:
        message = (
            f"The document is not JSON and is too large for YAML: {size:,} bytes"
            f" (max {MAX_YAML_BYTES:,})."
        )
        raise Unreadable("plan.too_large", message)
    return _Builder(yaml_tokens(text)).build()


class _Builder:
    def __init__(self, tokens: Iterator[PlanToken]) -> None:
        self._tokens = tokens
        self._positions: dict[Path, tuple[int, int]] = {}
        self._problems = Problems(self._positions)
        self._count = 0

    def build(self) -> Parsed:
        first = next(self._tokens, None)
        if first is None:
            raise Unreadable("plan.not_yaml", "The document is empty.")
        value = self._value(first, (), 0)
        for _ in self._tokens:
            pass  # the reader may still find an error after the value
        return Parsed(value, self._positions, tuple(self._problems.found))

    def _value(self, token: PlanToken, path: Path, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            message = f"Too many keys and values (max {MAX_VALUES:,})."
            raise Unreadable("plan.too_large", message, token.line, token.column)
        # That of an entry of a mapping is that of its key.
        self._positions.setdefault(path, (token.line, token.column))
        if token.kind == "scalar":
            if token.text_at and path and path[-1] in _CONDITIONS:
                self._positions[(*path, TEXT)] = token.text_at
            return self._scalar(token)
        if depth == MAX_DEPTH:
            message = f"Nested too deeply (max {MAX_DEPTH} levels)."
            raise Unreadable("plan.too_deep", message, token.line, token.column)
        if token.kind == "{":
            return self._mapping(path, depth + 1)
        return self._list(path, depth + 1)

    def _list(self, path: Path, depth: int) -> list[Any]:
        value: list[Any] = []
        for token in self._tokens:
            if token.kind == "]":
                break
            value.append(self._value(token, (*path, len(value)), depth))
        return value

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for token in self._tokens:
            if token.kind == "}":
                break
            self._count += 1
            key = self._key(token, value)
            below = (*path, key)
            self._positions.setdefault(below, (token.line, token.column))
            item = self._value(next(self._tokens), below, depth)
            value.setdefault(key, item)
        return value

    def _key(self, token: PlanToken, siblings: dict[str, Any]) -> str:
        if token.kind != "scalar":
            message = "A key must be text, not an object or a list."
            raise Unreadable("plan.not_yaml", message, token.line, token.column)
        key = self._text(token)
        if key in siblings:
            self._note("plan.duplicate_key", f"Duplicate key {_short(key)}.", token)
        elif token.is_plain and not isinstance(_core(token.text), str):
            message = f"The key {_short(key)} is not text. Put it in quotes."
            self._note("plan.wrong_type", message, token)
        return key

    def _scalar(self, token: PlanToken) -> Any:
        value = _core(token.text) if token.is_plain else token.text
        if isinstance(value, str):
            return self._text(token)
        if value is None or isinstance(value, bool):
            return value
        if not abs(value) <= LARGEST_SAFE_INTEGER:
            message = (
                f"The number {_short(token.text)} cannot be stored exactly. Put it in"
                f" quotes to store it as text."
            )
            self._note("plan.number_out_of_range", message, token)
            return token.text
        if _LEADING_ZERO.match(token.text):
            message = (
                f"{_short(token.text)} is read as the number {value}. Put it in quotes"
                f" to keep its zeros."
            )
            self._note("plan.leading_zero", message, token, WARNING)
        return value

    def _text(self, token: PlanToken) -> str:
        text = token.text
        if text.isascii() and text.isprintable():
            return text
        if bad := _SURROGATE.search(text) or re.search("\0", text):
            message = f"The text contains U+{ord(bad[0]):04X}, which cannot be stored."
            raise Unreadable("plan.not_text", message, token.line, token.column)
        if not unicodedata.is_normalized("NFC", text):
            message = "The text is not in Unicode normal form C; look-alikes differ."
            self._note("plan.not_normal_text", message, token, WARNING)
        if hidden := _HIDDEN.search(text):
            message = (
                f"The text contains the invisible character U+{ord(hidden[0]):04X}, so"
                f" it may differ from what you see."
            )
            self._note("plan.hidden_character", message, token, WARNING)
        return text

    def _note(
        self, code: str, message: str, token: PlanToken, severity: str = ERROR
    ) -> None:
        place = (token.line, token.column)
        self._problems.note(Problem(code, message, None, *place, severity=severity))


def _core(text: str) -> str | int | float | bool | None:
    """Return a plain scalar as the YAML 1.2 core schema reads it."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _NOT_FINITE.fullmatch(text):
        return inf
    if _FLOAT.fullmatch(text):
        if len(text) > _MAX_NUMBER:
            return inf
        return int(text) if _INT.fullmatch(text) else float(text)
    if len(text) <= _MAX_NUMBER and _BASED.fullmatch(text):
        return int(text, 0)
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= _MAX_QUOTE else f"{text[:_MAX_QUOTE]}…")
