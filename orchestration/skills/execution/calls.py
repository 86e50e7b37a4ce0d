"""A call of a handler in its worker, and the possible answers."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestration.skills.domain.guard import Allow
from orchestration.skills.domain.limits import Limit, Limits
from orchestration.skills.domain.outcome import (
    DryRunResult,
    Outcome,
    ProbeResult,
    TargetProblem,
)


class RunnerDied(Exception):
    """The runner ended before it answered: whether the effect happened is unknown."""


class NotSent(Exception):
    """The runner ended before it had the whole call: nothing started."""


class DeadlinePassed(Exception):
    """The call did not finish in time and was killed: its effect is unknown."""


class RunnerBusy(Exception):
    """The runner already has a call."""


class CallKind(StrEnum):
    """The function of a handler to call."""

    RUN = "run"
    DRY_RUN = "dry_run"
    CHECK = "check"
    PROBE = "probe"


@dataclass(frozen=True)
class Note:
    """A place in a file where the runner notes a call before it begins."""

    fd: int
    """Descriptor of a file that the runner has inherited with the same number."""
    inode: int
    """Identifies the file: a handler may have opened another one there."""
    at: int
    text: str


def note_begin(note: Mapping[str, Any] | None) -> None:
    """Write that the handler begins; end this program if that fails."""
    if note is None:
        return
    with contextlib.suppress(OSError):
        os.set_inheritable(note["fd"], False)  # noqa: FBT003
        is_there = os.fstat(note["fd"]).st_ino == note["inode"]
        if is_there and os.pwrite(note["fd"], note["text"].encode(), note["at"]):
            return
    os._exit(1)


@dataclass(frozen=True)
class WireCall:
    """One call of a handler with references to secrets, not their values."""

    handler: str
    params: Mapping[str, Any]
    workdir: Path
    """Path of its folder; `discard` removes it after the files are stored."""
    idempotency_key: str
    deadline_s: float
    """Time limit of the handler."""
    until: float = math.inf
    """The time when the call is ended, in seconds since boot."""
    valid_until: float = math.inf
    """The latest time to start the call, in seconds since boot."""
    config: Mapping[str, Any] = field(default_factory=dict)
    kind: CallKind = CallKind.RUN
    allow: Allow = field(default_factory=Allow)
    limits: Limits = field(default_factory=Limits)
    note: Note | None = None
    started_at: datetime | None = None
    """For a probe, when the attempt began that it asks about."""


@dataclass(frozen=True)
class Log:
    """Masked text that the handler or one of its programs wrote."""

    text: str


@dataclass(frozen=True)
class Checked:
    problems: tuple[TargetProblem, ...]


@dataclass(frozen=True)
class TouchedSomething:
    """A dry run, target check or probe tried to change something and was stopped."""

    what: str


@dataclass(frozen=True)
class NotStarted:
    """The runner got the call too late and did not start it."""


@dataclass(frozen=True)
class LimitPassed:
    """The call exceeded a limit and was stopped: its effect is unknown."""

    limit: Limit
    message: str

    @property
    def code(self) -> str:
        return str(self.limit)


Answer = (
    Outcome
    | DryRunResult
    | Checked
    | ProbeResult
    | TouchedSomething
    | LimitPassed
    | NotStarted
)


def references(value: Any, kind: str) -> Iterator[Any]:
    """Return the content of each `{kind: ...}` in a value, such as `$file`."""
    if isinstance(value, Mapping) and value.keys() == {kind}:
        yield value[kind]
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from references(item, kind)


def replaced(value: Any, kind: str, make: Callable[[Any], Any]) -> Any:
    """Replace each `{kind: ...}` in a value by what `make` returns for its content."""
    if isinstance(value, Mapping):
        if value.keys() == {kind}:
            return make(value[kind])
        return {key: replaced(item, kind, make) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(item, kind, make) for item in value]
    return value


def local_files(value: Any) -> set[str]:
    """Return the sha256 of each file that a value refers to."""
    return {file["sha256"] for file in references(value, "$file")}
