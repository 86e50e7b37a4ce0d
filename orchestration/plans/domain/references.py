"""References: `$step.output.a.b`, `$step.files.name`, `$inputs.x`, `$run.id`, `$$`.

A value that is exactly one reference keeps the type of what it names. Inside longer
text it is written as text: objects and lists as canonical JSON. A field ends at the
first character that is no letter, digit or `_`, so `$inputs.month-*.csv` is the month
and then `-*.csv`, and the dot that ends a sentence belongs to the text. Braces set
limits by hand and allow hyphens in fields: `${inputs.month}.csv`. A `$` before
anything else than a letter, `_` or `{` is a dollar sign.

A question mark after a whole reference, or before the closing brace, makes it optional:
`$step.output.a?` is null if there is no such value. `$first.output` is the output of the
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
"""Bytes that the references of one value may bring in together: a small text may name
a large output a hundred thousand times."""


@dataclass(frozen=True)
class Reference:
    """One reference as it is written."""

    head: str
    """`inputs`, `run`, `self`, or the id of a step."""
    path: tuple[str, ...]
    """What follows: for a step `output` or `files`, then the way into it."""
    where: tuple[str | int, ...] = ()
    """The way to the value that holds it."""
    whole: bool = False
    """Whether the value is nothing but this reference, so that its type is kept."""
    broken: str = ""
    """The text as written, where it begins like a reference and is none."""
    optional: bool = False
    """True if it is null where there is no such value."""

    @property
    def step(self) -> str | None:
        """The step it names, or None. `first` may be the parent that started a join."""
        return None if self.head in RESERVED or self.broken else self.head

    def __str__(self) -> str:
        name = "$" + ".".join((self.head, *self.path))
        return self.broken or name + "?" * self.optional


@dataclass(frozen=True)
class Scope:
    """What references can see when they are resolved."""

    inputs: Mapping[str, Any]
    run: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    self_: Mapping[str, Any] | None = None
    """`{"output": ..., "params": ..., "files": ...}` of the step that is undone."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """The steps that have no output, with their states; optional references to them
    are null. A step in neither `outputs` nor `absent` is not known yet."""
    first: str = ""
    """The parent that started the join: what `$first` names; empty if there is none."""


def find(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[Reference]:
    """Every reference in a JSON value, with where it stands. Keys hold none."""
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
    """The value with every reference replaced by what it names.

    What comes in is not read again: an output with a `$` in it stays as it is.

    :raises ReferenceUnresolved: when one names no value
    :raises ReferenceTooLarge: when they bring in more than MAX_RESOLVED
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
    """The reference that a text is, if it is nothing else."""
    # Inside longer text a question mark ends a question.
    optional = text.endswith("?")
    match = _REFERENCE.fullmatch(text.removesuffix("?"))
    if match is None or match["dollar"] or (optional and not match["head"]):
        return None
    found = _reference(match)
    return replace(found, whole=True, optional=optional or found.optional)


def _reference(match: re.Match[str]) -> Reference:
    if match["head"]:
        return Reference(match["head"], tuple(match["path"].split(".")[1:]))
    braced = _BRACED.fullmatch(match["braced"] or "")
    if braced is None:
        return Reference("", (), broken=match[0])
    path = tuple(braced[2].split(".")[1:])
    return Reference(braced[1], path, optional=bool(braced[3]))


class _Resolver:
    """One resolution, with what it has brought in so far."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._left = MAX_RESOLVED
        self._known: dict[str, tuple[Any, int]] = {}

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
        if name not in self._known:
            value = _look_up(reference, self._scope)
            self._known[name] = value, len(canonical.dumps(value))
        value, size = self._known[name]
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
        raise _unresolved(reference, "no step is undone here")
    for part in path:
        value = _into(value, part)
        if value is _ABSENT and not reference.optional:
            raise _unresolved(reference, f"there is no {part!r}")
    return None if value is _ABSENT else value


def _of_step(reference: Reference, scope: Scope) -> Any:
    name, kind = reference.head, reference.path[0] if reference.path else ""
    if name == FIRST and scope.first:
        name = scope.first
    sources: Mapping[str, Mapping[str, Any]]
    sources = {"output": scope.outputs, "files": scope.files, "id": {name: name}}
    if kind not in sources or (kind == "id" and reference.head != FIRST):
        raise _unresolved(reference, "write .output or .files after the step")
    found = sources[kind].get(name)
    if found is not None:
        return found
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


def _unresolved(reference: Reference, why: str) -> ReferenceUnresolved:
    name = str(reference)
    return ReferenceUnresolved(f"Cannot resolve {name}: {why}.", reference=name)
