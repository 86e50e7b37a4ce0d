"""What a handler is given and what it may return: data in, outcome out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from execfabric.lib.masking import Masker
from orchestration.skills.domain.limits import Limits


@dataclass(frozen=True)
class File:
    """A file handed to a handler: read-only bytes on disk and what is known of them."""

    path: Path
    name: str
    sha256: str
    size: int
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Call:
    """One call of a handler.

    In `params`, every `{"$file": ...}` has been replaced by a `File`, in `config`
    and `params` every `{"$secret": ...}` by its value.
    """

    params: Mapping[str, Any]
    config: Mapping[str, Any]
    workdir: Path
    """An empty folder of its own, removed after the call."""
    idempotency_key: str
    """The same for every attempt of one step run: send it where a target takes one."""
    deadline_s: float
    log: Callable[[str], None]
    masker: Masker = field(default_factory=lambda: Masker(()))
    """Masks the secrets of this call: for content whose digest goes into the output.

    Outputs, logs and files are masked in the worker in any case.
    """
    limits: Limits = field(default_factory=Limits)
    """What the call may use; a handler that starts programs passes them on."""


@dataclass(frozen=True)
class Succeeded:
    """The effect happened. `output` satisfies the action's output schema."""

    output: dict[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path | Sequence[Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """It did not work and trying again would not help."""

    code: str
    message: str
    before_effect: bool = False
    """Whether it certainly failed before any effect; otherwise parts may be there."""


@dataclass(frozen=True)
class Retry:
    """Nothing happened, and it may work later (a busy target, no connection)."""

    code: str
    message: str


@dataclass(frozen=True)
class Unknown:
    """The effect was begun, and the handler cannot know whether it happened."""

    code: str
    message: str


Outcome = Succeeded | Failed | Retry | Unknown


@dataclass(frozen=True)
class DryRun:
    """What a call would do, found out without doing it."""

    summary: str
    """One sentence for the approver."""
    changes: tuple[str, ...] = ()
    """One line per thing that would be created, changed, sent or removed."""
    output: dict[str, Any] | None = None
    """The output the call would have, where that can be known; else None."""
    fails: str = ""
    """Why the call would fail; empty where nothing speaks against it."""

    @classmethod
    def failing(cls, reason: str) -> "DryRun":
        """Return the dry run of a call that would fail."""
        return cls(summary=f"Would fail: {reason}", fails=reason)


@dataclass(frozen=True)
class TargetProblem:
    """A target that a call names and that is not there, or not as needed."""

    code: str
    message: str


Handler = Callable[[Call], Outcome]
DryRunHandler = Callable[[Call], DryRun]
CheckHandler = Callable[[Call], Sequence[TargetProblem]]
