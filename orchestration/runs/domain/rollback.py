"""Decide what happens next in a run that is rolled back, one undo after the other."""

from collections.abc import Sequence
from enum import StrEnum

from orchestration.runs.domain import decider
from orchestration.runs.domain.decider import Action, Cancel, Move, Release, Skip
from orchestration.runs.domain.progress import Progress, StepStatus
from orchestration.runs.domain.results import ABANDONED, CHECKING, KEPT
from orchestration.runs.domain.states import (
    AT_WORK,
    HELD,
    UNSTARTED,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)

NOT_POSSIBLE = "rollback.not_possible"
"""The error code of an undo that could not be prepared; it does not stop the others."""
NOT_TRIED = frozenset({NOT_POSSIBLE, ABANDONED})
"""The error codes of failed undos that do not stop the others."""
NOT_STOPPING = NOT_TRIED | {CHECKING, KEPT}
"""The same, that of an undo that the others wait for while a probe asks about it, and that
of an undo that is not a part of the rollback."""
OF_OWNER = {
    StepState.SUCCEEDED: StepEvent.COMPENSATED,
    StepState.FAILED: StepEvent.COMPENSATION_FAILED,
    StepState.REJECTED: StepEvent.COMPENSATION_FAILED,
}
"""What the end of an undo means for the step that it undoes."""


def order_of(completed_seq: int | None) -> tuple[bool, int]:
    """Return a key to sort steps by: the one that completed last comes first.

    A step that completes in this change has no number yet, and is the last one.
    """
    return completed_seq is not None, -(completed_seq or 0)


def next_actions(progress: Progress, undos: Progress) -> Sequence[Action]:
    """Return the actions that are due now, in order; empty if the run can only wait.

    Steps that have not started are cancelled first. An undo that fails, is rejected or
    has an unknown outcome stops the rollback.
    """
    if settled := decider.settled(RunState.ROLLING_BACK, progress):
        return settled
    if unstarted := progress.steps(*UNSTARTED):
        return [Cancel(step.key) for step in unstarted]
    stopped_by = _stopped_by(undos)
    if stopped_by is not None:
        return _stop(undos, stopped_by)
    if undos.count(*AT_WORK, *HELD):
        return []
    if pending := undos.releasable(1):
        return [Release(pending[0].key)]
    return [_end(undos)]


def _stopped_by(undos: Progress) -> StepStatus | None:
    ended = undos.steps(StepState.INDETERMINATE, StepState.FAILED, StepState.REJECTED)
    return next((step for step in ended if step.error not in NOT_STOPPING), None)


def _stop(undos: Progress, by: StepStatus) -> Sequence[Action]:
    reason = f"Step {by.name} failed."
    if by.state is StepState.REJECTED:
        reason = f"Step {by.name} was not approved."
    if by.state is StepState.INDETERMINATE:
        reason = decider.unknown_reason(by.name)
    skipped = [Skip(step.key, reason) for step in undos.steps(*UNSTARTED)]
    end = f"The rollback stopped. {reason}"
    return skipped or [Move(RunEvent.ROLLBACK_FAILED, end)]


def _end(undos: Progress) -> Move:
    done = undos.count(StepState.SUCCEEDED)
    text = f"{done} {'step was' if done == 1 else 'steps were'} undone."
    named = {
        "Cannot run": [
            step for step in undos.steps(StepState.FAILED) if step.error != KEPT
        ],
        "Skipped by a user": [
            step
            for step in undos.steps(StepState.SKIPPED)
            if decider.is_skipped_by_user(step)
        ],
    }
    left = [
        f"{what}: {', '.join(step.name for step in steps)}."
        for what, steps in named.items()
        if steps
    ]
    event = RunEvent.ROLLBACK_FAILED if left else RunEvent.ROLLED_BACK
    return Move(event, " ".join([text, *left]))


class ReportedOutcome(StrEnum):
    """What has become of a step, in the report of a rollback."""

    DONE = "done"  # it succeeded, and nothing of it was to be undone
    UNDONE = "undone"  # it succeeded, and its undo has run
    NOT_UNDONE = "not_undone"  # what it has changed, or may have changed, remains
    FAILED = "failed"  # it failed before it changed anything
    SKIPPED = "skipped"  # it did not run
    UNKNOWN = "unknown"  # it is not known if it or its undo has taken effect


def outcome_of(
    state: StepState,
    undo: StepState | None,
    *,
    ran: bool,
    left: str,
    by_hand: str = "",
) -> tuple[ReportedOutcome, str]:
    """Return what has become of a step, and why.

    `undo` is the state of its undo, if it has one. `ran` is True if the step may have
    changed something although it did not succeed; `left` says why it was not to be undone,
    `by_hand` who has undone it instead of its undo.
    """
    match state:
        case StepState.COMPENSATED:
            return ReportedOutcome.UNDONE, by_hand
        case StepState.COMPENSATION_FAILED:
            return ReportedOutcome.NOT_UNDONE, "Its undo did not succeed."
        case StepState.INDETERMINATE:
            return ReportedOutcome.UNKNOWN, "Its outcome is unknown."
        case StepState.SUCCEEDED:
            return _of_success(undo, left)
    if ran:
        return ReportedOutcome.NOT_UNDONE, left or "It may have changed something."
    is_failure = state in {StepState.FAILED, StepState.REJECTED}
    return (ReportedOutcome.FAILED if is_failure else ReportedOutcome.SKIPPED), ""


def _of_success(undo: StepState | None, left: str) -> tuple[ReportedOutcome, str]:
    if undo is StepState.INDETERMINATE:
        return ReportedOutcome.UNKNOWN, "The outcome of its undo is unknown."
    if undo in {StepState.SKIPPED, StepState.CANCELLED}:
        return ReportedOutcome.NOT_UNDONE, "The rollback stopped before it."
    if undo is not None:
        return ReportedOutcome.NOT_UNDONE, "Its undo has not finished."
    return (ReportedOutcome.NOT_UNDONE if left else ReportedOutcome.DONE), left
