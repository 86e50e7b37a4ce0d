"""References: `$step.output.a.b`, `$step.files.name`, `$inputs.x`, `$run.id`, `$$`.

A value that is exactly one reference keeps the type of what it names. Inside longer
text it becomes text: objects and lists as canonical JSON. A field ends at the first
character that is not a letter, digit or `_`, so `$inputs.month-*.csv` is the month
followed by `-*.csv`, and the dot at the end of a sentence belongs to the text. Braces
mark the end and allow hyphens in fields: `${inputs.month}.csv`. A `$` that no letter,
`_` or `{` follows is a dollar sign.

A question mark after a whole reference, or before the closing brace, makes it optional:
`$step.output.a?` is null if the value does not exist. `$first.output` is the output of the
parent that started a `one_success` join, unless the plan has a step `first`. In a step
with `forEach`, `$index` and the name of its `as` are the index and the value of the item.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from execfabric.lib import canonical
from orchestration.plans.errors import ReferenceTooLarge, ReferenceUnresolved

_STEP = r"[A-Za-z_][A-Za-z0-9_-]*"
_FIELDS = r"(?:\.[A-Za-z0-9_]+)*"
_REFERENCE = re.compile(
    rf"""\$(?:
      (?P<dollar>\$)
    | (?P<head>{_STEP})(?P<path>{_FIELDS})
    | \{{(?P<braced>[^{{}}$]*)\}}
    | (?P<open>\{{)
    )""",
    re.VERBOSE,
)
_BRACED = re.compile(rf"({_STEP})((?:\.[A-Za-z0-9_-]+)*)(\??)")
SELF = "self"
FIRST = "first"
INDEX = "index"
ABSENT = object()
"""The value of a field that does not exist."""
RESERVED = frozenset({"inputs", "run", SELF, "item"})
MAX_RESOLVED = 8 << 20
"""Bytes that all references of one value may insert: a small text can name a large
output a hundred thousand times."""


class Reference(NamedTuple):
    head: str
    """`inputs`, `run`, `self`, the name of an item, or the id of a step."""
    path: tuple[str, ...]
    """The rest: for a step `output` or `files`, then the fields."""
    where: tuple[str | int, ...] = ()
    """The path of the value that contains it."""
    whole: bool = False
    """True if the value is only this reference, so that it keeps its type."""
    broken: str = ""
    """The text as written, if it starts like a reference and is not one."""
    optional: bool = False
    """True if the reference is null when the value does not exist."""

    @property
    def step(self) -> str | None:
        """The step that it names, or None; `first` may be the parent of a join."""
        return None if self.head in RESERVED or self.broken else self.head

    def __str__(self) -> str:
        name = "$" + ".".join((self.head, *self.path))
        return self.broken or name + "?" * self.optional


@dataclass(frozen=True)
class Scope:
    inputs: Mapping[str, Any]
    run: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    self_: Mapping[str, Any] | None = None
    """`{"output": ..., "params": ..., "files": ...}` of the step being undone."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """The steps without output, with their states; optional references to them are
    null. A step in neither `outputs` nor `absent` is not known yet."""
    first: str = ""
    """The parent that started the join, for `$first`; empty if there is none."""
    item: Mapping[str, Any] = field(default_factory=dict)
    """The names of the item in a step with forEach, with their values."""


def walk(
    value: Any, where: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Walk a JSON value and everything in it, each with its path."""
    yield where, value
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, item in items:
        yield from walk(item, (*where, key))


def mapped(value: Any, text: Callable[[str], Any]) -> Any:
    """Return a JSON value with `text` applied to every text that has a `$`."""
    if isinstance(value, str):
        return text(value) if "$" in value else value
    if isinstance(value, Mapping):
        return {key: mapped(item, text) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mapped(item, text) for item in value]
    return value


def find(value: Any) -> Iterator[Reference]:
    """Find every reference in a JSON value. Keys contain none."""
    for path, item in walk(value):
        if isinstance(item, str) and "$" in item:
            yield from in_text(item, path)


def resolve(value: Any, scope: Scope) -> Any:
    """Replace every reference in a value by what it names.

    Inserted values are not read again: an output with a `$` in it stays as it is.

    :raises ReferenceUnresolved: if a reference names no value
    :raises ReferenceTooLarge: if they insert more than MAX_RESOLVED
    """
    return mapped(value, _Resolver(scope).text)


def in_text(text: str, where: tuple[str | int, ...] = ()) -> list[Reference]:
    """Find every reference in a text, which is at the path `where` of a value."""
    if whole := _whole(text, where):
        return [whole]
    matches = _REFERENCE.finditer(text)
    return [_reference(match, where) for match in matches if not match["dollar"]]


def is_required(text: str) -> bool:
    """Return True if a text is exactly one reference that must have a value."""
    whole = _whole(text)
    return whole is not None and not whole.broken and not whole.optional


def _whole(text: str, where: tuple[str | int, ...] = ()) -> Reference | None:
    """Return the reference that makes up a whole text, if any."""
    # Inside longer text a question mark ends a question.
    optional = text.endswith("?")
    match = _REFERENCE.fullmatch(text, 0, len(text) - optional)
    if match is None or match["dollar"] or (optional and not match["head"]):
        return None
    return _reference(match, where, whole=True, optional=optional)


def _reference(
    match: re.Match[str],
    where: tuple[str | int, ...] = (),
    *,
    whole: bool = False,
    optional: bool = False,
) -> Reference:
    if head := match["head"]:
        path = tuple(match["path"].split(".")[1:])
        return Reference(head, path, where, whole, "", optional)
    braced = _BRACED.fullmatch(match["braced"] or "")
    if braced is None:
        return Reference("", (), where, whole, match[0], optional)
    path = tuple(braced[2].split(".")[1:])
    return Reference(braced[1], path, where, whole, "", optional or bool(braced[3]))


class _Resolver:
    """One resolution, with a budget of bytes to insert."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._left = MAX_RESOLVED
        self._cache: dict[str, tuple[Any, int]] = {}

    def text(self, text: str) -> Any:
        if whole := _whole(text):
            return self._fetch(whole)
        return _REFERENCE.sub(self._written, text)

    def _written(self, match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        value = self._fetch(_reference(match))
        return value if isinstance(value, str) else canonical.dumps(value).decode()

    def _fetch(self, reference: Reference) -> Any:
        name = str(reference)
        if name not in self._cache:
            value = _look_up(reference, self._scope)
            self._cache[name] = value, len(canonical.dumps(value))
        value, size = self._cache[name]
        self._left -= size
        if self._left < 0:
            raise ReferenceTooLarge(reference=name, limit=MAX_RESOLVED)
        return value


def _look_up(reference: Reference, scope: Scope) -> Any:
    if reference.broken:
        raise _unresolved(reference, "it is not a reference")
    path = reference.path
    if reference.head in scope.item:
        return _below(scope.item[reference.head], path, reference)
    sources = {"inputs": scope.inputs, "run": scope.run, SELF: scope.self_}
    value: Any = sources.get(reference.head)
    if reference.head not in sources:
        value, path = _of_step(reference, scope), path[1:]
    if value is None and reference.head == SELF:
        raise _unresolved(reference, "no step is being undone here")
    return _below(value, path, reference)


def _below(value: Any, path: tuple[str, ...], reference: Reference) -> Any:
    for part in path:
        value = into(value, part)
        if value is ABSENT and not reference.optional:
            raise _unresolved(reference, f"{part!r} does not exist")
    return None if value is ABSENT else value


def _of_step(reference: Reference, scope: Scope) -> Any:
    name, kind = reference.head, reference.path[0] if reference.path else ""
    if name == FIRST and scope.first:
        name = scope.first
    sources: Mapping[str, Mapping[str, Any]]
    sources = {"output": scope.outputs, "files": scope.files, "id": {name: name}}
    if kind not in sources or (kind == "id" and reference.head != FIRST):
        raise _unresolved(reference, "write .output or .files after the step id")
    value = sources[kind].get(name)
    if value is not None:
        return value
    if name not in scope.absent:
        raise _unresolved(reference, f"{name} has no {kind}")
    if reference.optional:
        return ABSENT
    raise _unresolved(
        reference, f"{name} has no {kind}, because it is {scope.absent[name]}"
    )


def into(value: Any, part: str) -> Any:
    """Return a field or an item of a value, or ABSENT."""
    if isinstance(value, Mapping) and part in value:
        return value[part]
    index = int(part) if part.isdecimal() and part.isascii() else None
    if isinstance(value, list) and index is not None and index < len(value):
        return value[index]
    return ABSENT


def _unresolved(reference: Reference, reason: str) -> ReferenceUnresolved:
    name = str(reference)
    return ReferenceUnresolved(f"Cannot resolve {name}: {reason}.", reference=name)
