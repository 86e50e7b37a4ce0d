"""References: `$step.output.a.b`, `$step.files.name`, `$inputs.x`, `$run.id`, `$$`.

A value that is exactly one reference keeps the type of what it names. Inside longer
text it becomes text: objects and lists as canonical JSON. A field ends at the first
character that is not a letter, digit or `_`, so `$inputs.month-*.csv` is the month
followed by `-*.csv`, and the dot at the end of a sentence belongs to the text. Braces
mark the end and allow hyphens in fields: `${inputs.month}.csv`. A `$` that no letter,
`_` or `{` follows is a dollar sign.

A question mark after a whole reference, or before the closing brace, makes it optional:
`$step.output.a?` is null if the value does not exist. `$first.output` is the output of the
parent that started a `one_success` join, unless the plan has a step `first`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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
_ABSENT = object()
RESERVED = frozenset({"inputs", "run", SELF, "item"})
MAX_RESOLVED = 8 << 20
"""Bytes that all references of one value may insert: a small text can name a large
output a hundred thousand times."""


@dataclass(frozen=True)
class Reference:
    """A reference as written."""

    head: str
    """`inputs`, `run`, `self`, or the id of a step."""
    path: tuple[str, ...]
    """The rest: for a step `output` or `files`, then the fields."""
    where: tuple[str | int, ...] = ()
    """The path of the value that contains it."""
    whole: bool = False
    """True if the value is only this reference, so that it keeps its type."""
    broken: str = ""
    """The text as written, if it starts like a reference and is not one."""
    optional: bool = False
    """True if it is null without such a value."""

    @property
    def step(self) -> str | None:
        """The step that it names, or None; `first` may be the parent of a join."""
        return None if self.head in RESERVED or self.broken else self.head

    def __str__(self) -> str:
        name = "$" + ".".join((self.head, *self.path))
        return self.broken or name + "?" * self.optional


@dataclass(frozen=True)
class Scope:
    """The values that references resolve to."""

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


def find(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[Reference]:
    """Find every reference in a JSON value. Keys contain none."""
    if isinstance(value, str):
        if "$" in value:
            yield from _in_text(value, where)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from find(item, (*where, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from find(item, (*where, index))


def resolve(value: Any, scope: Scope) -> Any:
    """Replace every reference in a value by what it names.

    Inserted values are not read again: an output with a `$` in it stays as it is.

    :raises ReferenceUnresolved: if a reference names no value
    :raises ReferenceTooLarge: if they insert more than MAX_RESOLVED
    """
    return _Resolver(scope).resolve(value)


def _in_text(text: str, where: tuple[str | int, ...]) -> Iterator[Reference]:
    if whole := _whole(text):
        yield replace(whole, where=where)
        return
    for match in _REFERENCE.finditer(text):
        if not match["dollar"]:
            yield replace(_reference(match), where=where)


def _whole(text: str) -> Reference | None:
    """Return the reference that makes up a whole text, if any."""
    # Inside longer text a question mark ends a question.
    optional = text.endswith("?")
    match = _REFERENCE.fullmatch(text.removesuffix("?"))
    if match is None or match["dollar"] or (optional and not match["head"]):
        return None
    reference = _reference(match)
    return replace(reference, whole=True, optional=optional or reference.optional)


def _reference(match: re.Match[str]) -> Reference:
    if match["head"]:
        return Reference(match["head"], tuple(match["path"].split(".")[1:]))
    braced = _BRACED.fullmatch(match["braced"] or "")
    if braced is None:
        return Reference("", (), broken=match[0])
    path = tuple(braced[2].split(".")[1:])
    return Reference(braced[1], path, optional=bool(braced[3]))


class _Resolver:
    """One resolution, with a budget of bytes to insert."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._left = MAX_RESOLVED
        self._cache: dict[str, tuple[Any, int]] = {}

    def resolve(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value) if "$" in value else value
        if isinstance(value, Mapping):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.resolve(item) for item in value]
        return value

    def _text(self, text: str) -> Any:
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
    sources = {"inputs": scope.inputs, "run": scope.run, SELF: scope.self_}
    value: Any = sources.get(reference.head)
    if reference.head not in sources:
        value, path = _of_step(reference, scope), path[1:]
    if value is None and reference.head == SELF:
        raise _unresolved(reference, "no step is being undone here")
    for part in path:
        value = _into(value, part)
        if value is _ABSENT and not reference.optional:
            raise _unresolved(reference, f"{part!r} does not exist")
    return None if value is _ABSENT else value


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
        return _ABSENT
    raise _unresolved(
        reference, f"{name} has no {kind}, because it is {scope.absent[name]}"
    )


def _into(value: Any, part: str) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    index = int(part) if part.isdecimal() and part.isascii() else None
    if isinstance(value, list) and index is not None and index < len(value):
        return value[index]
    return _ABSENT


def _unresolved(reference: Reference, reason: str) -> ReferenceUnresolved:
    name = str(reference)
    return ReferenceUnresolved(f"Cannot resolve {name}: {reason}.", reference=name)
