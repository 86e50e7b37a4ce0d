"""Decide what happens next in a run: a pure function of its progress."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.runs.domain.progress import UNANSWERED, Key, Progress, StepStatus
from orchestration.runs.domain.states import (
    AT_WORK,
    HELD,
    RunEvent,
    RunState,
    StepState,
)


@dataclass(frozen=True)
class _OfStep:
    key: Key


class Release(_OfStep):
    """Resolve the step's params; open its gate or make it ready."""


@dataclass(frozen=True)
class Skip(_OfStep):
    """Leave the step out, because of a failure."""

    reason: str


class Cancel(_OfStep):
    """Cancel a step that has not started."""


class TryAgain(_OfStep):
    """Retry a failed step as a new generation."""


class Revive(_OfStep):
    """Make a step pending that was skipped because of a failure that is retried."""


@dataclass(frozen=True)
class Move:
    """Move the run."""

    event: RunEvent
    reason: str = ""


StepAction = Release | Skip | Cancel | TryAgain | Revive
Action = StepAction | Move

UNSTARTED = StepState.PENDING, StepState.GATED, StepState.READY, StepState.BACKOFF
"""States of steps that have not finished and are not running."""


def next_actions(run: RunState, progress: Progress) -> Sequence[Action]:
    """Return the actions that are due now, in order; empty if the run can only wait.

    The caller carries them out and calls again until nothing is due.
    """
    if run is RunState.CANCELLING:
        return _end_when_idle(progress, Move(RunEvent.CANCELLED))
    if run is RunState.PAUSING:
        is_idle = not progress.count(StepState.RUNNING)
        return [Move(RunEvent.PAUSED)] if is_idle else []
    rejected = progress.first(StepState.REJECTED)
    if rejected is not None and run in {RunState.RUNNING, RunState.PAUSED}:
        return _end_when_idle(progress, _rejection(rejected))
    return _proceed(progress) if run is RunState.RUNNING else []


def _proceed(progress: Progress) -> Sequence[Action]:
    """Return the actions of a running run; an unknown outcome always pauses it."""
    unknown = progress.first(StepState.INDETERMINATE)
    if unknown is not None:
        return [Move(RunEvent.PAUSE_REQUESTED, unknown_reason(unknown.name))]
    failed = progress.first(StepState.FAILED)
    if failed is not None and progress.on_failure == "pause":
        return [Move(RunEvent.PAUSE_REQUESTED, f"Step {failed.name} failed.")]
    if failed is not None and progress.on_failure == "abort":
        return _abort(progress, failed)
    return _release(progress)


def unknown_reason(step: str) -> str:
    """Return why a run with an unknown outcome is paused."""
    return f"Outcome unknown: step {step} may or may not have had its effect."


def _end_when_idle(progress: Progress, end: Move) -> Sequence[Action]:
    """Cancel unstarted steps, wait for running ones, then end the run."""
    waiting = progress.steps(*UNSTARTED)
    if waiting or progress.count(StepState.RUNNING):
        return [Cancel(step.key) for step in waiting]
    return [end]


def _rejection(rejected: StepStatus) -> Move:
    if rejected.error == UNANSWERED:
        reason = f"The approval of step {rejected.name} expired."
        return Move(RunEvent.EXPIRED, reason)
    return Move(RunEvent.REJECTED, f"Step {rejected.name} was rejected.")


def _abort(progress: Progress, failed: StepStatus) -> Sequence[Action]:
    reason = f"Step {failed.name} failed, and the plan aborts on failures."
    skipped = [Skip(step.key, reason) for step in progress.steps(StepState.PENDING)]
    end = Move(RunEvent.FAILED, f"Step {failed.name} failed.")
    return skipped or _end_when_idle(progress, end)


def _release(progress: Progress) -> Sequence[Action]:
    skipped = [
        Skip(step.key, f"Its trigger rule {step.trigger_rule} can no longer be met.")
        for step in progress.unsatisfiable()
    ]
    released = progress.releasable(limit=_free_slots(progress))
    if skipped or released or progress.unfinished:
        return [*skipped, *(Release(step.key) for step in released)]
    return [_end(progress)]


def _free_slots(progress: Progress) -> int:
    """Return how many more steps may be released now.

    In a sequential run a step that waits for a user keeps its slot, which gives the strict
    order. In a parallel run it does not, so that open gates cannot block other steps;
    `Progress.may_start` then limits how many approved steps run at once.
    """
    if progress.parallel_max == 0:
        return progress.count(StepState.PENDING)
    busy = AT_WORK | HELD if progress.parallel_max == 1 else AT_WORK
    return progress.parallel_max - progress.count(*busy)


def _end(progress: Progress) -> Move:
    failed = progress.steps(StepState.FAILED)
    skipped = progress.skipped_by_failure()
    if not failed and not skipped:
        return Move(RunEvent.SUCCEEDED)
    is_part_done = progress.count(StepState.SUCCEEDED) > 0
    event = RunEvent.PARTIALLY_SUCCEEDED if is_part_done else RunEvent.FAILED
    what = "Failed" if failed else "Skipped because of a failure"
    return Move(event, f"{what}: {', '.join(s.name for s in failed or skipped)}.")
