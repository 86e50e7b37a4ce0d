"""References: `$step.output.a.b`, `$step.files.name`, `$inputs.x`, `$run.id`, `$$`.

A value that is exactly one reference keeps the type of what it names. Inside longer
text it is written as text: objects and lists as canonical JSON. A field ends at the
first character that is no letter, digit or `_`, so `$inputs.month-*.csv` is the month
and then `-*.csv`, and the dot that ends a sentence belongs to the text. Braces set
limits by hand and allow hyphens in fields: `${inputs.month}.csv`. A `$` before
anything else than a letter, `_` or `{` is a dollar sign.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
_BRACED = re.compile(rf"({_STEP})((?:\.[A-Za-z0-9_-]+)*)")
SELF = "self"
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

    @property
    def step(self) -> str | None:
        """The step it names, or None."""
        return None if self.head in RESERVED or self.broken else self.head

    def __str__(self) -> str:
        return self.broken or "$" + ".".join((self.head, *self.path))


@dataclass(frozen=True)
class Scope:
    """What references can see when they are resolved."""

    inputs: Mapping[str, Any]
    run: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    self_: Mapping[str, Any] | None = None
    """`{"output": ..., "params": ..., "files": ...}` of the step that is undone."""


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

    :raises ReferenceUnresolved: when one leads nowhere
    :raises ReferenceTooLarge: when they bring in more than MAX_RESOLVED
    """
    return _Resolver(scope).resolve(value)


def _in_text(text: str, where: tuple[str | int, ...]) -> Iterator[Reference]:
    for match in _REFERENCE.finditer(text):
        if not match["dollar"]:
            yield _reference(match, where, whole=match[0] == text)


def _reference(
    match: re.Match[str], where: tuple[str | int, ...] = (), *, whole: bool = False
) -> Reference:
    if match["head"]:
        parts = match["path"].split(".")[1:]
        return Reference(match["head"], tuple(parts), where, whole)
    braced = _BRACED.fullmatch(match["braced"] or "")
    if braced is None:
        return Reference("", (), where, whole, broken=match[0])
    return Reference(braced[1], tuple(braced[2].split(".")[1:]), where, whole)


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
        match = _REFERENCE.fullmatch(text)
        if match and not match["dollar"]:
            return self._fetch(_reference(match))
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
        raise _unresolved(reference, "it is no reference")
    path = reference.path
    sources = {"inputs": scope.inputs, "run": scope.run, SELF: scope.self_}
    value: Any = sources.get(reference.head)
    if reference.head not in sources:
        value, path = _of_step(reference, scope), path[1:]
    if value is None and reference.head == SELF:
        raise _unresolved(reference, "no step is undone here")
    for part in path:
        value = _into(value, part, reference)
    return value


def _of_step(reference: Reference, scope: Scope) -> Any:
    kind = reference.path[0] if reference.path else ""
    sources: Mapping[str, Mapping[str, Any]]
    sources = {"output": scope.outputs, "files": scope.files}
    if kind not in sources:
        raise _unresolved(reference, "write .output or .files after the step")
    found = sources[kind].get(reference.head)
    if found is None:
        raise _unresolved(reference, f"{reference.head} has no {kind}")
    return found


def _into(value: Any, part: str, reference: Reference) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    index = int(part) if part.isdecimal() and part.isascii() else None
    if isinstance(value, list) and index is not None and index < len(value):
        return value[index]
    raise _unresolved(reference, f"there is no {part!r}")


def _unresolved(reference: Reference, why: str) -> ReferenceUnresolved:
    name = str(reference)
    return ReferenceUnresolved(f"{name} leads nowhere: {why}.", reference=name)
