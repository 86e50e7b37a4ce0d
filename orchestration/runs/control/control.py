"""Pause, resume, cancel and abort runs."""

from datetime import datetime
from uuid import UUID

from approvals.errors import ProposerInactive
from approvals.services import gates as approvals
from execfabric.identity.authority import require, rights_of
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.machine import IllegalTransition
from execfabric.lib.rights import Right
from execfabric.lib.text import is_visible
from orchestration.runs import selectors
from orchestration.runs.domain import outcome
from orchestration.runs.domain.states import RUN, RunEvent, RunState, StepState
from orchestration.runs.engine import edits
from orchestration.runs.engine.advance import advance, carry_out
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ActReasonRequired, NotControllable
from orchestration.runs.models import Run

VERBS = {
    RunEvent.PAUSE_REQUESTED: "pause",
    RunEvent.RESUMED: "resume",
    RunEvent.CANCEL_REQUESTED: "cancel",
    RunEvent.ABORT_REQUESTED: "abort",
}


def pause(*, run_id: UUID, by: Actor, at: datetime, reason: str = "") -> Run:
    """Request a pause; the run is paused once its running steps have finished.

    :raises NotControllable: when `by` may not control this run
    :raises IllegalTransition: when it is not running
    """
    require_control(run_id, by)
    with locked_change(run_id, by=by, at=at) as change:
        _require(change, RunEvent.PAUSE_REQUESTED)
        change.move_run(RunEvent.PAUSE_REQUESTED, reason or f"Paused by {by.name}.")
        advance(change)
        return change.run


def resume(*, run_id: UUID, by: Actor, at: datetime) -> Run:
    """Resume a run, and retry the failures that paused it.

    :raises NotControllable: when `by` may not control this run
    :raises IllegalTransition: when it is not pausing or paused
    :raises ProposerInactive: when the proposer's account is deactivated
    """
    require_control(run_id, by)
    with locked_change(run_id, by=by, at=at) as change:
        if not change.loaded.proposer_active:
            raise ProposerInactive(run=str(run_id))
        _require(change, RunEvent.RESUMED)
        actions = outcome.resume(
            change.loaded.progress,
            failures=change.run.failures,
            rollback_after=change.run.rollback_after,
        )
        carry_out(actions, change)
        hint_ready(change)
        advance(change)
        return change.run


def hint_ready(change: RunChange) -> None:
    """Hint workers at the steps that were ready before a run resumed."""
    for step in change.steps.values():
        if step.state == StepState.READY:
            change.hint(step)


def cancel(*, run_id: UUID, by: Actor, at: datetime, reason: str = "") -> Run:
    """Request the end of a run; it is cancelled once its running steps have finished.

    Steps that are safe to interrupt are stopped.

    :raises NotControllable: when `by` may not control this run
    :raises IllegalTransition: when it has ended
    """
    require_control(run_id, by)
    with locked_change(run_id, by=by, at=at) as change:
        _require(change, RunEvent.CANCEL_REQUESTED)
        request_cancel(change, reason or f"Cancelled by {by.name}.")
        return change.run


def request_cancel(change: RunChange, reason: str) -> None:
    """Begin to cancel a run, and withdraw the open approval of its plan."""
    has_open_gate = change.run.state == RunState.AWAITING_APPROVAL
    gate_id = change.run.gate_id
    columns = edits.revert(change)
    change.move_run(RunEvent.CANCEL_REQUESTED, reason, **columns)
    if has_open_gate and gate_id is not None:
        change.facts += approvals.withdraw(
            gate_id=gate_id, reason="The run was cancelled.", at=change.at
        ).facts
    advance(change)


def abort(*, run_id: UUID, by: Actor, at: datetime, reason: str) -> Run:
    """End a run as failed: skip what has not started, and let running steps finish.

    :raises NotControllable: when `by` may not control this run
    :raises ActReasonRequired: when the reason is empty
    :raises IllegalTransition: when it has not started, or has ended
    """
    require_control(run_id, by)
    if not is_visible(reason):
        raise ActReasonRequired
    with locked_change(run_id, by=by, at=at) as change:
        _require(change, RunEvent.ABORT_REQUESTED)
        change.move_run(
            RunEvent.ABORT_REQUESTED, f"Aborted by {by.name}: {reason.strip()}"
        )
        advance(change)
        return change.run


def may_control(run: Run, by: Actor) -> bool:
    """Return True for operators and admins, and for the proposer or an agent's owner."""
    if by.kind is not ActorKind.USER:
        return False
    rights = rights_of(by)
    own = by.key in {run.proposer, run.proposer_owner}
    return Right.CONTROL in rights or (own and Right.PROPOSE in rights)


def require_control(run_id: UUID, by: Actor) -> None:
    """Check that `by` may control a run.

    :raises RunUnknown: when it does not exist, or `by` may not see it
    :raises NotControllable: when `by` may see it but not control it
    """
    if by.kind is not ActorKind.USER:
        require(by, Right.CONTROL)
    if not may_control(selectors.get(by, run_id), by):
        raise NotControllable(run=str(run_id))


def _require(change: RunChange, event: RunEvent) -> None:
    """Check that the state of the run allows an event.

    :raises IllegalTransition: when it cannot
    """
    state = RunState(change.run.state)
    if RUN.allows(state, event):
        return
    word = state.replace("_", " ")
    reason = f"it has ended ({word})" if state in RUN.final else f"it is {word}"
    message = f"Cannot {VERBS[event]} the run: {reason}."
    raise IllegalTransition(
        message, machine=RUN.name, state=str(state), event=str(event)
    )
