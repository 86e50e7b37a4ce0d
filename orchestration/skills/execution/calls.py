"""A call of a handler as its worker knows it, and what may come back."""

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestration.skills.domain.guard import Allow
from orchestration.skills.domain.limits import Limit, Limits
from orchestration.skills.domain.outcome import DryRun, Outcome, TargetProblem


class RunnerDied(Exception):
    """The runner ended before it answered: whether the effect happened is unknown."""


class NotSent(Exception):
    """The runner ended before it had the whole call: nothing was begun."""


class DeadlinePassed(Exception):
    """The call did not end in its time and was killed: its effect is unknown."""


class RunnerBusy(Exception):
    """The runner has a call under way."""


class CallKind(StrEnum):
    """What is wanted of a handler."""

    RUN = "run"
    DRY_RUN = "dry_run"
    CHECK = "check"


@dataclass(frozen=True)
class Note:
    """Where the runner notes, before its first step, that it begins a call."""

    fd: int
    """A file that the runner has inherited; its number is the same there."""
    inode: int
    """To tell the file from another one that a handler may have put there."""
    at: int
    text: str


def note_begin(note: Mapping[str, Any] | None) -> None:
    """Note that the handler begins; end this program where that is not possible."""
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
    """One call of a handler, as the worker knows it: references, not values."""

    handler: str
    params: Mapping[str, Any]
    workdir: Path
    """Where its folder may be made; `discard` removes it once the files are kept."""
    idempotency_key: str
    deadline_s: float
    """How long the handler may take."""
    until: float = math.inf
    """When it is ended at the latest, in seconds since boot."""
    valid_until: float = math.inf
    """Until when it may be started, in seconds since boot."""
    config: Mapping[str, Any] = field(default_factory=dict)
    kind: CallKind = CallKind.RUN
    allow: Allow = field(default_factory=Allow)
    limits: Limits = field(default_factory=Limits)
    note: Note | None = None


@dataclass(frozen=True)
class Log:
    """Text the handler or a program of its wrote, masked."""

    text: str


@dataclass(frozen=True)
class Checked:
    """What a target check found; nothing is good."""

    problems: tuple[TargetProblem, ...]


@dataclass(frozen=True)
class TouchedSomething:
    """A dry run or a target check tried to change something and was stopped."""

    what: str


@dataclass(frozen=True)
class NotStarted:
    """The runner had the call too late and did not start it: nothing was begun."""


@dataclass(frozen=True)
class LimitPassed:
    """The call passed a limit and was stopped: its effect is unknown."""

    limit: Limit
    message: str

    @property
    def code(self) -> str:
        """The code of the failure."""
        return str(self.limit)


Answer = Outcome | DryRun | Checked | TouchedSomething | LimitPassed | NotStarted


def local_files(value: Any) -> set[str]:
    """The sha256 of every file that a value names."""
    if isinstance(value, Mapping):
        if value.keys() == {"$file"}:
            return {value["$file"]["sha256"]}
        return set().union(*(local_files(item) for item in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(local_files(item) for item in value))
    return set()
