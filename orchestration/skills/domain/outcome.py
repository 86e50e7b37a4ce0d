"""The interface of handlers: the call that they get and the outcome they return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from execfabric.lib.masking import Masker
from orchestration.skills.domain.limits import Limits


@dataclass(frozen=True)
class File:
    """A read-only file for a handler, with its metadata."""

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
    """An empty folder that is removed after the call."""
    idempotency_key: str
    """A key for targets that accept one; the same for all attempts."""
    deadline_s: float
    log: Callable[[str], None]
    masker: Masker = field(default_factory=lambda: Masker(()))
    """Masks the secrets of this call, for content whose digest is in the output.

    The worker masks outputs, logs and files anyway.
    """
    limits: Limits = field(default_factory=Limits)
    """The limits of the call. A handler passes them on to its programs."""
    started_at: datetime | None = None
    """For a probe, when the attempt began that it asks about; else None."""


@dataclass(frozen=True)
class Succeeded:
    """The effect happened. `output` satisfies the action's output schema."""

    output: dict[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path | Sequence[Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The call failed, and another attempt would fail too."""

    code: str
    message: str
    before_effect: bool = False
    """True if there was certainly no effect; else it may be partial."""


@dataclass(frozen=True)
class Retry:
    """The call had no effect and may succeed later, as with a busy target."""

    code: str
    message: str


@dataclass(frozen=True)
class Unknown:
    """The effect was started, and the handler does not know if it happened."""

    code: str
    message: str


Outcome = Succeeded | Failed | Retry | Unknown


class CallFailed(Exception):
    """The handler cannot continue; `outcome` is what the step reports.

    In a dry run it is the predicted failure, in a target check a problem.
    """

    def __init__(self, outcome: Failed | Retry | Unknown) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def refused(code: str, message: str) -> CallFailed:
    """Return the error of a call that had no effect."""
    return CallFailed(Failed(code, message, before_effect=True))


@dataclass(frozen=True)
class DryRunResult:
    """The predicted effect of a call."""

    summary: str
    """One sentence for the approver."""
    changes: tuple[str, ...] = ()
    """One line for each change."""
    output: dict[str, Any] | None = None
    """The output of the call if it can be known; else None."""
    fails: str = ""
    """Why the call would fail; empty if nothing is known."""

    @classmethod
    def failing(cls, reason: str) -> "DryRunResult":
        return cls(summary=f"Would fail: {reason}", fails=reason)


DryRun = DryRunResult
"""The name in earlier releases, for skills that import it."""


@dataclass(frozen=True)
class TargetProblem:
    """A problem with the target of a call, such as a missing one."""

    code: str
    message: str


@dataclass(frozen=True)
class DidHappen:
    """A probe found the effect. `output` satisfies the action's output schema."""

    evidence: str
    """A sentence that says how it is known."""
    output: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DidNotHappen:
    """A probe found that there was certainly no effect, so it is safe to repeat."""

    evidence: str


@dataclass(frozen=True)
class CannotTell:
    """A probe could not find out; a person has to."""

    evidence: str


ProbeResult = DidHappen | DidNotHappen | CannotTell
Handler = Callable[[Call], Outcome]
DryRunHandler = Callable[[Call], DryRunResult]
CheckHandler = Callable[[Call], Sequence[TargetProblem] | None]
ProbeHandler = Callable[[Call], ProbeResult]
