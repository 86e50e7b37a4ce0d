"""From text to a value with places: YAML 1.2 and JSON, strictly and within bounds.

Scalars follow the YAML 1.2 core schema: `NO`, `on` and dates are text, `012` is
twelve. Whatever is wrong comes back as problems; nothing is raised.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from execfabric.lib.canonical import LARGEST_SAFE_INTEGER
from orchestration.plans.domain.problem import (
    WARNING,
    Path,
    Problem,
    Problems,
)
from orchestration.plans.domain.tokens import (
    NotJson,
    Token,
    Unreadable,
    json_tokens,
    place_of,
    yaml_tokens,
)

MAX_BYTES = 4 << 20
MAX_YAML_BYTES = 1 << 20
"""YAML is for people; what programs write is JSON, and may be longer."""
MAX_DEPTH = 50
MAX_VALUES = 250_000

_BOOL = {"true": True, "True": True, "TRUE": True}
_BOOL |= {"false": False, "False": False, "FALSE": False}
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_LONGEST_NUMBER = 400
_LONGEST_QUOTE = 40
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_HIDDEN = re.compile(
    r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)


@dataclass(frozen=True)
class Parsed:
    """A document's value, where each part of it stands, and what is wrong already.

    The place of an entry of a mapping is that of its key.
    """

    value: Any = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def parse(text: str | bytes) -> Parsed:
    """Read a document; whatever is wrong with it comes back as problems."""
    try:
        return _read(_decoded(text))
    except Unreadable as error:
        return Parsed(problems=(error.problem,))


def _decoded(text: str | bytes) -> str:
    if len(text) > MAX_BYTES:
        raise _too_large(len(text))
    if isinstance(text, bytes):
        text = _utf8(text)
    elif (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_BYTES:
        raise _too_large(size)
    text = text.removeprefix("\ufeff")
    wrong = _CONTROL.search(text) or _SURROGATE.search(text)
    if wrong:
        message = f"The character U+{ord(wrong[0]):04X} may not stand in a plan."
        raise Unreadable("plan.not_text", message, *place_of(text, wrong.start()))
    return text


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        before = body[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"Byte {error.start} is not UTF-8."
        raise Unreadable("plan.not_text", message, line, column) from error


def _too_large(size: int) -> Unreadable:
    message = f"The document has {size:,} bytes; at most {MAX_BYTES:,} are read."
    return Unreadable("plan.too_large", message)


def _read(text: str) -> Parsed:
    if text.lstrip(" \t\r\n")[:1] in {"{", "["}:
        try:
            return _Builder().build(json_tokens(text))
        except NotJson:
            pass
    if (size := len(text.encode())) > MAX_YAML_BYTES:
        message = (
            f"The document is not JSON and has {size:,} bytes; of YAML at most"
            f" {MAX_YAML_BYTES:,} are read."
        )
        raise Unreadable("plan.too_large", message)
    return _Builder().build(yaml_tokens(text))


@dataclass(slots=True)
class _Open:
    """A collection that is being filled."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None
    keep: bool = True
    """Whether the value that follows is kept; a doubled key keeps its first."""


class _Builder:
    """Builds a value from tokens, without recursion."""

    def __init__(self) -> None:
        self._positions: dict[Path, tuple[int, int]] = {}
        self._problems = Problems(self._positions)
        self._open: list[_Open] = []
        self._root: list[Any] = []
        self._count = 0

    def build(self, tokens: Iterable[Token]) -> Parsed:
        for token in tokens:
            self._take(token)
        if not self._root:
            raise Unreadable("plan.not_yaml", "The document is empty.")
        return Parsed(self._root[0], self._positions, tuple(self._problems.found))

    def _take(self, token: Token) -> None:
        if token.kind in {"}", "]"}:
            self._open.pop()
            return
        self._count += 1
        if self._count > MAX_VALUES:
            message = f"The document has more than {MAX_VALUES:,} values."
            raise Unreadable("plan.too_large", message, token.line, token.column)
        top = self._open[-1] if self._open else None
        if top and isinstance(top.value, dict) and top.key is None:
            self._take_key(token, top)
            return
        path = self._path(top)
        self._positions.setdefault(path, (token.line, token.column))
        if token.kind == "scalar":
            self._put(top, self._scalar(token))
            return
        self._check_depth(token)
        value: dict[str, Any] | list[Any] = {} if token.kind == "{" else []
        self._put(top, value)
        self._open.append(_Open(value, path))

    def _check_depth(self, token: Token) -> None:
        if len(self._open) >= MAX_DEPTH:
            message = f"It is nested deeper than {MAX_DEPTH} levels."
            raise Unreadable("plan.too_deep", message, token.line, token.column)

    def _take_key(self, token: Token, top: _Open) -> None:
        place = (token.line, token.column)
        if token.kind != "scalar":
            message = "A key must be text, not an object or a list."
            raise Unreadable("plan.not_yaml", message, *place)
        key = self._text(token.text, place)
        path = (*top.path, key)
        top.key, top.keep = key, key not in top.value
        if not top.keep:
            message = f"The key {_short(key)} stands twice here."
            self._problems.note(Problem("plan.duplicate_key", message, None, *place))
            return
        self._positions[path] = place
        if token.plain and not isinstance(_core(token.text), str):
            message = f"The key {_short(key)} is not text; put it in quotes."
            self._problems.note(Problem("plan.wrong_type", message, None, *place))

    def _path(self, top: _Open | None) -> Path:
        if top is None:
            return ()
        step = top.key if isinstance(top.value, dict) else len(top.value)
        return (*top.path, step if step is not None else "")

    def _put(self, top: _Open | None, value: Any) -> None:
        if top is None:
            self._root.append(value)
        elif isinstance(top.value, list):
            top.value.append(value)
        else:
            if top.keep:
                top.value[top.key or ""] = value
            top.key = None

    def _scalar(self, token: Token) -> Any:
        place = (token.line, token.column)
        if not token.plain:
            return self._text(token.text, place)
        value = _core(token.text)
        if isinstance(value, str):
            return self._text(value, place)
        if value is None or isinstance(value, bool):
            return value
        if not abs(value) <= LARGEST_SAFE_INTEGER:
            message = (
                f"{_short(token.text)} cannot be kept exactly; put it in quotes to"
                f" keep it as text."
            )
            self._problems.note(
                Problem("plan.number_out_of_range", message, None, *place)
            )
            return token.text
        if _LEADING_ZERO.match(token.text):
            message = (
                f"{_short(token.text)} is read as the number {value}; put it in quotes"
                f" to keep its zeros."
            )
            self._warn("plan.leading_zero", message, place)
        return value

    def _text(self, text: str, place: tuple[int, int]) -> str:
        if _SURROGATE.search(text):
            message = "The text holds half of a surrogate pair."
            raise Unreadable("plan.not_text", message, *place)
        if "\0" in text:
            raise Unreadable("plan.not_text", "A text holds a NUL character.", *place)
        if text.isascii() and text.isprintable():
            return text
        if not unicodedata.is_normalized("NFC", text):
            message = "This text is not in Unicode normal form C; look-alikes differ."
            self._warn("plan.not_normal_text", message, place)
        if hidden := _HIDDEN.search(text):
            message = (
                f"This text holds the invisible character U+{ord(hidden[0]):04X}; it"
                f" may read otherwise than it runs."
            )
            self._warn("plan.hidden_character", message, place)
        return text

    def _warn(self, code: str, message: str, place: tuple[int, int]) -> None:
        self._problems.note(Problem(code, message, None, *place, severity=WARNING))


def _core(text: str) -> str | int | float | bool | None:
    """A plain scalar by the YAML 1.2 core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _NOT_FINITE.fullmatch(text):
        return float("inf")
    return _number(text)


def _number(text: str) -> str | int | float:
    if _FLOAT.fullmatch(text):
        if len(text) > _LONGEST_NUMBER:
            return float("inf")
        return int(text) if _INT.fullmatch(text) else float(text)
    if len(text) <= _LONGEST_NUMBER and _BASED.fullmatch(text):
        return int(text, 0)
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")
