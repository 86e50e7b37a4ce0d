"""A JSON value as lines for a page: complete, in order, without recursion."""

import re
from dataclasses import dataclass
from typing import Any

from execfabric.console.shown import Shown, shown
from execfabric.lib import canonical

DEEPEST_INDENT = 8
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
    def indent(self) -> int:
        """The depth, as far as a page can still indent."""
        return min(self.depth, DEEPEST_INDENT)


@dataclass(frozen=True)
class _Item:
    value: Any
    depth: int = 0
    name: str | None = None
    is_index: bool = False


def rows(value: Any) -> list[Row]:
    """The lines of a value, outermost first; every leaf is there in full."""
    found: list[Row] = []
    waiting = [_Item(value)]
    while waiting:
        item = waiting.pop()
        name = None if item.name is None else shown(item.name)
        children = _children(item)
        if children and name is None:
            waiting += reversed(children)
        elif children:
            kind = "object" if isinstance(item.value, dict) else "list"
            size = len(children)
            found.append(Row(item.depth, name, item.is_index, kind, None, size))
            waiting += reversed(children)
        else:
            kind, text = _leaf(item.value)
            file = file_of(item.value)
            leaf = shown(text)
            found.append(Row(item.depth, name, item.is_index, kind, leaf, file=file))
    return found


def size_of(value: Any) -> int:
    """How many bytes the value's canonical form has; 0 where it has none."""
    try:
        return len(canonical.dumps(value))
    except canonical.NotCanonical:
        return 0


def _children(item: _Item) -> list[_Item]:
    value, depth = item.value, item.depth if item.name is None else item.depth + 1
    if isinstance(value, dict) and not _is_secret(value) and not file_of(value):
        return [_Item(entry, depth, str(key)) for key, entry in value.items()]
    if isinstance(value, list) and not _is_numbers(value):
        return [
            _Item(entry, depth, str(place), is_index=True)
            for place, entry in enumerate(value)
        ]
    return []


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
