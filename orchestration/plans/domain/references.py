"""References: `$step.output.a.b`, `$step.files.name`, `$inputs.x`, `$run.id`, `$$`.

A value that is exactly one reference keeps the type of what it names. Inside longer
text it is written as text: objects and lists as canonical JSON. A dot that ends a
sentence belongs to the text, not to the reference.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from execfabric.lib import canonical
from orchestration.plans.errors import ReferenceUnresolved

_PART = r"[A-Za-z0-9_-]+"
_REFERENCE = re.compile(rf"\$(?:\$|({_PART})((?:\.{_PART})*))")
SELF = "self"
RESERVED = frozenset({"inputs", "run", SELF, "item"})


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

    @property
    def step(self) -> str | None:
        """The step it names, or None."""
        return None if self.head in RESERVED else self.head

    def __str__(self) -> str:
        return "$" + ".".join((self.head, *self.path))


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
    """Every reference in a JSON value, with where it stands."""
    if isinstance(value, str):
        for match in _REFERENCE.finditer(value):
            if match[1]:
                whole = match[0] == value
                yield Reference(match[1], _path(match), where, whole)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from find(item, (*where, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from find(item, (*where, index))


def resolve(value: Any, scope: Scope) -> Any:
    """The value with every reference replaced by what it names.

    :raises ReferenceUnresolved: when one leads nowhere
    """
    if isinstance(value, str):
        return _resolve_text(value, scope)
    if isinstance(value, Mapping):
        return {key: resolve(item, scope) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item, scope) for item in value]
    return value


def _resolve_text(text: str, scope: Scope) -> Any:
    if "$" not in text:
        return text
    match = _REFERENCE.fullmatch(text)
    if match and match[1]:
        return _look_up(Reference(match[1], _path(match)), scope)

    def written(match: re.Match[str]) -> str:
        if not match[1]:
            return "$"
        return _as_text(_look_up(Reference(match[1], _path(match)), scope))

    return _REFERENCE.sub(written, text)


def _path(match: re.Match[str]) -> tuple[str, ...]:
    return tuple(match[2].split(".")[1:]) if match[2] else ()


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return canonical.dumps(value).decode()


def _look_up(reference: Reference, scope: Scope) -> Any:
    value: Any
    if reference.head == "inputs":
        value, path = scope.inputs, reference.path
    elif reference.head == "run":
        value, path = scope.run, reference.path
    elif reference.head == SELF:
        value, path = scope.self_, reference.path
    else:
        value, path = _of_step(reference, scope), reference.path[1:]
    for part in path:
        value = _into(value, part, reference)
    return value


def _of_step(reference: Reference, scope: Scope) -> Any:
    kind = reference.path[0] if reference.path else ""
    sources = {"output": scope.outputs, "files": scope.files}
    found = sources.get(kind, {}).get(reference.head)
    if found is None:
        raise ReferenceUnresolved(
            f"{reference} names what is not there.", reference=str(reference)
        )
    return found


def _into(value: Any, part: str, reference: Reference) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    raise ReferenceUnresolved(
        f"{reference} leads nowhere: there is no {part!r}.", reference=str(reference)
    )
