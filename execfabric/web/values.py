"""A JSON value as lines for a page: in order, without recursion, and never too many.

Beyond LINES or CHARACTERS a page shows the start of a value and says what is left out;
warnings, size and digest are always those of the whole.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from execfabric.lib import canonical
from execfabric.web.shown import Limit, Shown, shown_start, warnings_of

LINES = 200
CHARACTERS = 16 * 1024
PIECES = 500
"""Marks make a page larger than the text does, so they are bounded as well."""
DEEPEST_INDENT = 8
_SUSPICIOUS = (
    b"\x7f",
    b'" ',
    b' "',
    b" " * 16,
    rb"\n" * 4,
    *(rb"\b \f \r \t \u".split()),
)
"""What cannot deceive in canonical JSON has none of these; a match is looked at closely."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileReference:
    """A file as a value refers to it: all that the reference says, and no more."""

    name: str
    size: int
    sha256: str
    media_type: str


def file_of(value: Any) -> FileReference | None:
    """The file that a value refers to; None where it is any other value."""
    fact = value.get("$file") if isinstance(value, dict) and len(value) == 1 else None
    if (
        not isinstance(fact, dict)
        or fact.keys() != FileReference.__annotations__.keys()
    ):
        return None
    sound = (
        type(fact["size"]) is int
        and all(isinstance(fact[key], str) for key in ("name", "sha256", "media_type"))
        and _SHA256.fullmatch(fact["sha256"])
    )
    return FileReference(**fact) if sound else None


@dataclass(frozen=True)
class Row:
    """One line of a value."""

    depth: int
    name: Shown | None
    """The key or the place in a list; None for the value itself."""
    is_index: bool
    kind: str
    """object, list, numbers, text, number, truth, nothing, secret or file."""
    value: Shown | None
    """What stands there; None for objects and lists, whose rows follow."""
    entries: int = 0
    file: FileReference | None = None
    """What a row of the kind file refers to; its value is the file's name."""

    @property
    def lines(self) -> int:
        """How many lines the row takes."""
        pieces = self.value.pieces if self.value else ()
        return 1 + sum(piece.text.count("\n") for piece in pieces)

    @property
    def is_cut(self) -> bool:
        """Whether only the start of its name or value is there."""
        return any(text is not None and text.is_cut for text in (self.name, self.value))

    @property
    def indent(self) -> int:
        """The depth, as far as a page can still indent."""
        return min(self.depth, DEEPEST_INDENT)


@dataclass(frozen=True)
class _Item:
    value: Any
    depth: int = 0
    name: str | None = None
    is_index: bool = False


@dataclass(frozen=True)
class Excerpt:
    """The start of a value as lines, and facts of the whole value."""

    rows: tuple[Row, ...]
    lines: int
    """How many lines are drawn."""
    total_lines: int
    bytes: int
    """The size of its canonical form; 0 where it has none."""
    sha256: str
    """The digest of its canonical form, as hex; empty where it has none."""
    warnings: tuple[str, ...]
    """What could deceive anywhere in the whole value; only where something is cut."""
    is_cut: bool


def excerpt(value: Any) -> Excerpt:
    """Return the lines of a value, outermost first, as many as a page holds."""
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
    """Return what could deceive in any text of a value; `body` is its canonical form."""
    body = body or _canonical(value)
    if body.isascii() and body and not any(part in body for part in _SUSPICIOUS):
        return ()
    found: dict[str, None] = {}
    for text in dict.fromkeys(_texts(value)):
        found.update(dict.fromkeys(warnings_of(text)))
    return tuple(found)


def _start(value: Any) -> tuple[list[Row], bool]:
    """Return the first rows, and whether there would be more."""
    found: list[Row] = []
    characters, lines, pieces = CHARACTERS, LINES, PIECES
    for item in _items(value):
        if lines <= 0 or characters <= 0 or pieces <= 0:
            return found, True
        row = _row(item, Limit(characters, lines, pieces))
        found.append(row)
        for text in (row.name, row.value):
            if text is not None:
                characters -= min(text.characters, characters)
                pieces -= len(text.pieces)
        lines -= row.lines
        if row.is_cut:
            return found, True
    return found, False


def _row(item: _Item, most: Limit) -> Row:
    name = None if item.name is None else shown_start(item.name, most)
    if _is_nested(item.value):
        kind = "object" if isinstance(item.value, dict) else "list"
        return Row(item.depth, name, item.is_index, kind, None, len(item.value))
    kind, text = _leaf(item.value)
    leaf = shown_start(text, most)
    return Row(item.depth, name, item.is_index, kind, leaf, file=file_of(item.value))


def _items(value: Any) -> Iterator[_Item]:
    """Walk a value in the order of its lines; the outermost container has none."""
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
    # An index tells nested entries apart; a list of plain values is read without it.
    has_index = any(map(_is_nested, value))
    return (
        _Item(entry, depth, str(place) if has_index else None, is_index=has_index)
        for place, entry in enumerate(value)
    )


def _is_nested(value: Any) -> bool:
    """Return True if a value takes lines of its own for what is in it."""
    if isinstance(value, dict):
        special = len(value) == 1 and (_is_secret(value) or file_of(value))
        return bool(value) and not special
    return isinstance(value, list) and bool(value) and not _is_numbers(value)


def _count_lines(value: Any) -> int:
    count, waiting = -1 if _is_nested(value) else 0, [value]
    while waiting:
        entry = waiting.pop()
        count += 1 + (entry.count("\n") if isinstance(entry, str) else 0)
        if isinstance(entry, dict | list) and _is_nested(entry):
            waiting.extend(entry.values() if isinstance(entry, dict) else entry)
    return count


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys included."""
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


def _is_secret(value: dict[str, Any]) -> bool:
    """Whether it is `{"$secret": name}`: a reference, whose value is not here."""
    return set(value) == {"$secret"} and isinstance(value["$secret"], str)


def _is_numbers(value: list[Any]) -> bool:
    """Whether one line can hold the list: nothing in it can deceive."""
    return all(isinstance(entry, int | float) for entry in value)


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
