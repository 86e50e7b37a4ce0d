"""Decide what happens next in a run: a pure function of its progress."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.runs.domain import failure_policy
from orchestration.runs.domain.failure_policy import Reaction
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.progress import UNANSWERED, Key, Progress, StepStatus
from orchestration.runs.domain.states import (
    AT_WORK,
    ENDING_RUN,
    FINAL_RUN,
    HELD,
    UNSTARTED,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)


@dataclass(frozen=True)
class _OfStep:
    key: Key


class Release(_OfStep):
    """Resolve the step's params; open its gate or make it ready."""


@dataclass(frozen=True)
class Skip(_OfStep):
    """Skip the step because of a failure."""

    reason: str


class LeaveOut(_OfStep):
    """Skip the step because conditions or a choice have left it out."""


class Cancel(_OfStep):
    """Cancel a step that has not started."""


class TryAgain(_OfStep):
    """Retry a failed step as a new generation: make it pending."""


class Revive(_OfStep):
    """Make a step pending that was skipped because of a failure that is retried."""


class FallBack(_OfStep):
    """Start the fallback of a failed step."""


class EndFallback(_OfStep):
    """Give the step the outcome of its fallback."""


class Reopen(_OfStep):
    """Expand a container again whose members are retried."""


@dataclass(frozen=True)
class Close(_OfStep):
    """End a container whose members have finished."""

    event: StepEvent


@dataclass(frozen=True)
class Move:
    """Move the run to another state."""

    event: RunEvent
    reason: str = ""


StepAction = (
    Release
    | Skip
    | LeaveOut
    | Cancel
    | TryAgain
    | Revive
    | FallBack
    | EndFallback
    | Reopen
    | Close
)


class Enter:
    """Take a place for the concurrency key of the run; without one it is queued."""


Action = StepAction | Move | Enter
ABORTED = "The run was aborted."


def next_actions(
    run: RunState,
    progress: Progress,
    *,
    needs_place: bool = False,
    failures: int = 0,
    rollback_after: int = 0,
) -> Sequence[Action]:
    """Return the actions that are due now, in order; empty if the run can only wait.

    `needs_place` is True for a run that has no place for its concurrency key yet.
    `failures` and `rollback_after` are those of `failure_policy`.
    The caller carries them out and calls again until nothing is due.
    """
    if due := settled(run, progress):
        return due
    if needs_place and run is RunState.RUNNING:
        return [Enter()]
    if run in ENDING_RUN:
        return _end_by_user(run, progress)
    if run is RunState.PAUSING:
        is_idle = not progress.count(StepState.RUNNING)
        return [Move(RunEvent.PAUSED)] if is_idle else []
    rejected = progress.first(StepState.REJECTED)
    if rejected is not None and run in {RunState.RUNNING, RunState.PAUSED}:
        return _end_when_idle(progress, _rejection(rejected))
    is_running = run is RunState.RUNNING
    counts = {"failures": failures, "rollback_after": rollback_after}
    return _proceed(progress, **counts) if is_running else []


def settled(run: RunState, progress: Progress) -> Sequence[Action]:
    """Return the moves that follow from other step runs, in any state of the run."""
    if fallen_back := progress.fallen_back():
        return [EndFallback(step.key) for step in fallen_back]
    is_ending = run in {*ENDING_RUN, *FINAL_RUN, RunState.ROLLING_BACK}
    # Before anything else: the steps after a failed one would be skipped.
    if not is_ending and (falling_back := progress.falling_back()):
        return [FallBack(step.key) for step in falling_back]
    return [Close(step.key, event) for step, event in progress.closable()]


def _proceed(
    progress: Progress, *, failures: int, rollback_after: int
) -> Sequence[Action]:
    """Return the actions of a running run; an unknown outcome always pauses it."""
    unknown = progress.first(StepState.INDETERMINATE)
    if unknown is not None:
        return [Move(RunEvent.PAUSE_REQUESTED, unknown_reason(unknown.name))]
    failed = progress.first_failed()
    if failed is None:
        return _release(progress)
    reaction = failure_policy.reaction_to(
        (step.on_error for step in progress.roots(StepState.FAILED)),
        on_failure=progress.on_failure,
        failures=failures,
        rollback_after=rollback_after,
    )
    match reaction:
        case Reaction.CONTINUE:
            return _release(progress)
        case Reaction.PAUSE:
            return [Move(RunEvent.PAUSE_REQUESTED, f"Step {failed.name} failed.")]
        case _:
            return _abort(progress, failed, reaction)


def unknown_reason(step: str) -> str:
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


def _abort(
    progress: Progress, failed: StepStatus, reaction: Reaction
) -> Sequence[Action]:
    is_abort = reaction is Reaction.ABORT
    then = "the plan aborts on failures" if is_abort else "the run is rolled back"
    reason = f"Step {failed.name} failed, and {then}."
    skipped = [Skip(step.key, reason) for step in progress.steps(StepState.PENDING)]
    end = Move(RunEvent.FAILED, f"Step {failed.name} failed.")
    if not is_abort:
        end = Move(RunEvent.ROLLBACK_STARTED, f"Step {failed.name} failed.")
    return skipped or _end_when_idle(progress, end)


def _end_by_user(run: RunState, progress: Progress) -> Sequence[Action]:
    """End a run that a user cancels or aborts, once its running steps have finished."""
    if run is RunState.CANCELLING:
        return _end_when_idle(progress, Move(RunEvent.CANCELLED))
    skipped = [Skip(each.key, ABORTED) for each in progress.steps(*UNSTARTED)]
    if skipped or progress.count(StepState.RUNNING):
        return skipped
    return [Move(RunEvent.FAILED)]


def _release(progress: Progress) -> Sequence[Action]:
    if stopped := progress.stopped():
        # Nothing else starts before the container has its state.
        return [Skip(step.key, _stop_reason(step, progress)) for step in stopped]
    skipped = [
        Skip(step.key, f"Its trigger rule {_rule_name(step)} can no longer be met.")
        for step in progress.unsatisfiable()
    ]
    left_out = [LeaveOut(step.key) for step in progress.left_out()]
    if skipped or left_out:
        # Steps after them may be due then, and come first in the order of the plan.
        return [*skipped, *left_out]
    released = progress.releasable(limit=_free_slots(progress))
    if released or progress.unfinished:
        return [each for step in released for each in _begin(step, progress)]
    return [_end(progress)]


def _begin(step: StepStatus, progress: Progress) -> list[StepAction]:
    """Release a step; of a retried container, retry the members without a result."""
    members = progress.members(step.key)
    if not members:
        return [Release(step.key)]
    failed = [
        each
        for each in members
        if each.state is StepState.FAILED and not progress.is_abandoned(each)
    ]
    skipped = [each for each in members if is_skipped_by_failure(each)]
    return [
        Reopen(step.key),
        *(TryAgain(each.key) for each in failed),
        *(Revive(each.key) for each in skipped),
    ]


def _stop_reason(step: StepStatus, progress: Progress) -> str:
    container = progress.container(step)
    name = container.name if container else step.name
    if container and container.group and container.group.is_plan:
        return f"Another step of the sub-plan {name} failed."
    return f"An item of step {name} failed, and its onItemError is stop."


def _rule_name(step: StepStatus) -> str:
    if step.trigger_rule == "at_least":
        return f"at least {step.at_least}"
    return step.trigger_rule


def _free_slots(progress: Progress) -> int:
    """Return how many more steps may be released now.

    In a sequential run a step that waits for a user or a time keeps its slot, which gives
    the strict order. In a parallel run it does not, so that it cannot block other steps;
    `Progress.may_start` then limits how many approved steps run at once.
    """
    if progress.parallel_max == 0:
        return progress.count(StepState.PENDING)
    busy = AT_WORK | HELD if progress.parallel_max == 1 else AT_WORK
    return progress.parallel_max - progress.count(*busy)


def _end(progress: Progress) -> Move:
    failed = progress.roots(StepState.FAILED)
    skipped = [
        step
        for step in progress.skipped_by_failure()
        if progress.container(step) is None
    ]
    excused = [s for s in progress.steps(StepState.SKIPPED) if is_skipped_by_user(s)]
    if not failed and not skipped and not excused:
        return Move(RunEvent.SUCCEEDED)
    # Also if nothing succeeded: a user has decided to go on without the failed step.
    is_accepted = bool(excused) and not failed
    is_part_done = is_accepted or progress.count(StepState.SUCCEEDED) > 0
    event = RunEvent.PARTIALLY_SUCCEEDED if is_part_done else RunEvent.FAILED
    named = {
        "Failed": failed,
        "Skipped by a user": excused,
        "Skipped because of a failure": skipped,
    }
    what, steps = next((what, steps) for what, steps in named.items() if steps)
    return Move(event, f"{what}: {', '.join(step.name for step in steps)}.")


def is_skipped_by_user(step: StepStatus) -> bool:
    return step.state is StepState.SKIPPED and step.error == SKIPPED_BY_USER


def is_skipped_by_failure(step: StepStatus) -> bool:
    return step.state is StepState.SKIPPED and step.error != SKIPPED_BY_USER
