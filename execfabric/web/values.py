"""JSON values as a limited number of lines for a page.

Of a large value, a page shows the start; warnings, size and digest are of all of it.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from execfabric.lib import canonical
from execfabric.web.shown import DisplayLimit, Shown, shown_start, warnings_of

LINES = 200
CHARACTERS = 16 * 1024
PIECES = 500
"""Maximum parts: a mark adds much more to a page than its character."""
DEEPEST_INDENT = 8
_SUSPICIOUS = (
    b"\x7f",
    b'" ',
    b' "',
    b" " * 16,
    rb"\n" * 4,
    *(rb"\b \f \r \t \u".split()),
)
"""Canonical JSON without any of these is harmless; others are checked further."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileReference:
    name: str
    size: int
    sha256: str
    media_type: str


def file_of(value: Any) -> FileReference | None:
    """Return the file that a value refers to, or None."""
    fact = value.get("$file") if isinstance(value, dict) and len(value) == 1 else None
    if (
        not isinstance(fact, dict)
        or fact.keys() != FileReference.__annotations__.keys()
    ):
        return None
    is_valid = (
        type(fact["size"]) is int
        and all(isinstance(fact[key], str) for key in ("name", "sha256", "media_type"))
        and _SHA256.fullmatch(fact["sha256"])
    )
    return FileReference(**fact) if is_valid else None


@dataclass(frozen=True)
class Row:
    """One line of a value."""

    depth: int
    name: Shown | None
    """The key, or the index in a list; None for the value itself."""
    is_index: bool
    kind: str
    """object, list, numbers, text, number, truth, nothing, secret or file."""
    value: Shown | None
    """The value; None for objects and lists, whose rows follow."""
    entries: int = 0
    file: FileReference | None = None
    """The file of a row of kind file, whose value is its name."""

    @property
    def lines(self) -> int:
        pieces = self.value.pieces if self.value else ()
        return 1 + sum(piece.text.count("\n") for piece in pieces)

    @property
    def is_cut(self) -> bool:
        return any(text is not None and text.is_cut for text in (self.name, self.value))

    @property
    def indent(self) -> int:
        return min(self.depth, DEEPEST_INDENT)


class _Item(NamedTuple):
    value: Any
    depth: int = 0
    name: str | None = None
    is_index: bool = False


@dataclass(frozen=True)
class Excerpt:
    """The first lines of a value; size, digest and warnings of the whole."""

    rows: tuple[Row, ...]
    lines: int
    total_lines: int
    bytes: int
    """Size of the canonical form, or 0."""
    sha256: str
    """Digest of the canonical form as hex, or ""."""
    warnings: tuple[str, ...]
    """Warnings about the whole value, if it is cut."""
    is_cut: bool


def excerpt(value: Any) -> Excerpt:
    """Return the first lines of a value, as many as fit on a page."""
    rows, is_cut = _start(value)
    body = _canonical(value)
    drawn = sum(row.lines for row in rows)
    return Excerpt(
        rows=tuple(rows),
        lines=drawn,
        total_lines=_count_lines(value) if is_cut else drawn,
        bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest() if body else "",
        warnings=warnings_in(value, body) if is_cut else (),
        is_cut=is_cut,
    )


def warnings_in(value: Any, body: bytes = b"") -> tuple[str, ...]:
    """Return the warnings of all texts in a value; `body` is its canonical form."""
    body = body or _canonical(value)
    if body.isascii() and body and not any(part in body for part in _SUSPICIOUS):
        return ()
    warnings: dict[str, None] = {}
    for text in dict.fromkeys(_texts(value)):
        warnings.update(dict.fromkeys(warnings_of(text)))
    return tuple(warnings)


def _start(value: Any) -> tuple[list[Row], bool]:
    """Return the first rows, and True if there are more."""
    rows: list[Row] = []
    characters, lines, pieces = CHARACTERS, LINES, PIECES
    for item in _items(value):
        if lines <= 0 or characters <= 0 or pieces <= 0:
            return rows, True
        row = _row(item, DisplayLimit(characters, lines, pieces))
        rows.append(row)
        for text in (row.name, row.value):
            if text is not None:
                characters -= min(text.characters, characters)
                pieces -= len(text.pieces)
        lines -= row.lines
        if row.is_cut:
            return rows, True
    return rows, False


def _row(item: _Item, limit: DisplayLimit) -> Row:
    name = None if item.name is None else shown_start(item.name, limit)
    if _is_nested(item.value):
        kind = "object" if isinstance(item.value, dict) else "list"
        return Row(item.depth, name, item.is_index, kind, None, len(item.value))
    kind, text = _leaf(item.value)
    leaf = shown_start(text, limit)
    return Row(item.depth, name, item.is_index, kind, leaf, file=file_of(item.value))


def _items(value: Any) -> Iterator[_Item]:
    """Walk a value in the order of its lines, without recursion."""
    waiting = [iter([_Item(value)])]
    while waiting:
        item = next(waiting[-1], None)
        if item is None:
            waiting.pop()
            continue
        if item.name is not None or not _is_nested(item.value):
            yield item
        if _is_nested(item.value):
            waiting.append(_children(item))


def _children(item: _Item) -> Iterator[_Item]:
    value, depth = item.value, item.depth if item.name is None else item.depth + 1
    if isinstance(value, dict):
        return (_Item(entry, depth, str(key)) for key, entry in value.items())
    # Nested entries need an index; a list of plain values is readable without.
    has_index = any(map(_is_nested, value))
    return (
        _Item(entry, depth, str(place) if has_index else None, is_index=has_index)
        for place, entry in enumerate(value)
    )


def _is_nested(value: Any) -> bool:
    """Return True if the entries of a value have their own lines."""
    if isinstance(value, dict):
        is_secret = len(value) == 1 and isinstance(value.get("$secret"), str)
        return bool(value) and not is_secret and not file_of(value)
    # A list of numbers is shown on one line.
    return isinstance(value, list) and any(
        not isinstance(entry, int | float) for entry in value
    )


def _count_lines(value: Any) -> int:
    entries = (item.value for item in _items(value))
    return sum(1 + (e.count("\n") if isinstance(e, str) else 0) for e in entries)


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            yield from entry
            waiting.extend(entry.values())
        elif isinstance(entry, list):
            waiting.extend(entry)


def _canonical(value: Any) -> bytes:
    try:
        return canonical.dumps(value)
    except canonical.NotCanonical:
        return b""


def _leaf(value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        return "text", value
    if file := file_of(value):
        return "file", file.name
    if isinstance(value, dict):
        return ("secret", value["$secret"]) if value else ("object", "{}")
    if isinstance(value, list):
        return "numbers", canonical.dumps(value).decode().replace(",", ", ")
    if isinstance(value, bool):
        return "truth", "true" if value else "false"
    return ("nothing", "null") if value is None else ("number", str(value))
