"""What should happen next in a run: a pure function of its progress."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.runs.domain.progress import UNANSWERED, Key, Progress, StepView
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
    """The step's turn has come: resolve its inputs, gate it or make it ready."""


@dataclass(frozen=True)
class Skip(_OfStep):
    """The step will not run, because of a failure."""

    reason: str


class Cancel(_OfStep):
    """The step has not started and will not."""


class TryAgain(_OfStep):
    """The failed step is tried again as a new generation."""


class Revive(_OfStep):
    """The step was skipped because of a failure that is tried again now."""


@dataclass(frozen=True)
class Move:
    event: RunEvent
    reason: str = ""


StepAction = Release | Skip | Cancel | TryAgain | Revive
Action = StepAction | Move

UNSTARTED = StepState.PENDING, StepState.GATED, StepState.READY, StepState.BACKOFF
"""Steps that no worker is in, and that may still run."""


def next_actions(run: RunState, progress: Progress) -> Sequence[Action]:
    """Return every action that is due now, in order; none when all that is left is to wait.

    The caller carries the actions out and asks again until nothing is due.
    """
    if run is RunState.CANCELLING:
        return _end_when_idle(progress, Move(RunEvent.CANCELLED))
    if run is RunState.PAUSING:
        is_idle = not progress.count(StepState.RUNNING)
        return [Move(RunEvent.PAUSED)] if is_idle else []
    rejected = progress.first(StepState.REJECTED)
    if rejected is not None and run in {RunState.RUNNING, RunState.PAUSED}:
        return _end_when_idle(progress, _refusal(rejected))
    return _proceed(progress) if run is RunState.RUNNING else []


def _proceed(progress: Progress) -> Sequence[Action]:
    """An unknown outcome always pauses; a failure does what the plan says."""
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
    """Return why a run is paused in which a step's outcome is unknown."""
    return f"Nobody knows whether step {step} had its effect."


def _end_when_idle(progress: Progress, end: Move) -> Sequence[Action]:
    """Cancel what has not started, wait for what is running, then end the run."""
    waiting = progress.steps(*UNSTARTED)
    if waiting or progress.count(StepState.RUNNING):
        return [Cancel(step.key) for step in waiting]
    return [end]


def _refusal(rejected: StepView) -> Move:
    if rejected.error == UNANSWERED:
        reason = f"Nobody answered for step {rejected.name} in time."
        return Move(RunEvent.EXPIRED, reason)
    return Move(RunEvent.REJECTED, f"Step {rejected.name} was not approved.")


def _abort(progress: Progress, failed: StepView) -> Sequence[Action]:
    reason = f"Step {failed.name} failed and the plan says abort."
    skipped = [Skip(step.key, reason) for step in progress.steps(StepState.PENDING)]
    end = Move(RunEvent.FAILED, f"Step {failed.name} failed.")
    return skipped or _end_when_idle(progress, end)


def _release(progress: Progress) -> Sequence[Action]:
    skipped = [
        Skip(step.key, f"Its rule {step.trigger_rule} can no longer be satisfied.")
        for step in progress.unsatisfiable()
    ]
    released = progress.releasable(limit=_free_slots(progress))
    if skipped or released or progress.unfinished:
        return [*skipped, *(Release(step.key) for step in released)]
    return [_end(progress)]


def _free_slots(progress: Progress) -> int:
    """Return how many more steps may be released now.

    In a sequential run a held step keeps its slot: that is the strict order. In a
    parallel one it does not, so that open gates cannot starve the other steps;
    `Progress.may_start` then bounds how many approved steps run at once.
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
