"""Pause, resume and cancel: requests that the workers confirm."""

from datetime import datetime
from uuid import UUID

from approvals import services as approvals
from approvals.errors import ProposerInactive
from execfabric.identity.authority import require, rights_of
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.machine import IllegalTransition
from execfabric.lib.rights import Right
from orchestration.runs import selectors
from orchestration.runs.domain import outcome
from orchestration.runs.domain.states import RUN, RunEvent, RunState, StepState
from orchestration.runs.engine.advance import advance, carry_out
from orchestration.runs.engine.transitions import Change, change
from orchestration.runs.errors import NotControllable
from orchestration.runs.models import Run

WORDS = {
    RunEvent.PAUSE_REQUESTED: "paused",
    RunEvent.RESUMED: "resumed",
    RunEvent.CANCEL_REQUESTED: "cancelled",
}


def pause(*, run_id: UUID, by: Actor, at: datetime, reason: str = "") -> Run:
    """Ask that nothing new starts; paused once no worker is in a step any more.

    :raises NotControllable: when this run is not `by`'s to control
    :raises IllegalTransition: when it is not running
    """
    _require_control(run_id, by)
    with change(run_id, by=by, at=at) as opened:
        _require(opened, RunEvent.PAUSE_REQUESTED)
        opened.move_run(RunEvent.PAUSE_REQUESTED, reason or f"Paused by {by.name}.")
        advance(opened)
        return opened.run


def resume(*, run_id: UUID, by: Actor, at: datetime) -> Run:
    """Go on where the run stopped; what is done stays done.

    Failures that paused the run are tried again; others stay as the plan says.

    :raises NotControllable: when this run is not `by`'s to control
    :raises IllegalTransition: when it is not pausing or paused
    :raises ProposerInactive: when the proposer's account is deactivated
    """
    _require_control(run_id, by)
    with change(run_id, by=by, at=at) as opened:
        if not opened.loaded.proposer_active:
            raise ProposerInactive(run=str(run_id))
        _require(opened, RunEvent.RESUMED)
        carry_out(outcome.resume(opened.loaded.progress), opened)
        for step in opened.steps.values():
            if step.state == StepState.READY:
                opened.hint(step)
        advance(opened)
        return opened.run


def cancel(*, run_id: UUID, by: Actor, at: datetime, reason: str = "") -> Run:
    """End a run for good; cancelled once no worker is in a step any more.

    A step that may not be cut off safely is let finish first.

    :raises NotControllable: when this run is not `by`'s to control
    :raises IllegalTransition: when it has ended
    """
    _require_control(run_id, by)
    with change(run_id, by=by, at=at) as opened:
        waited = opened.run.state == RunState.AWAITING_APPROVAL
        _require(opened, RunEvent.CANCEL_REQUESTED)
        why = reason or f"Cancelled by {by.name}."
        opened.move_run(RunEvent.CANCEL_REQUESTED, why)
        if waited and opened.run.gate_id is not None:
            opened.facts += approvals.withdraw(
                gate_id=opened.run.gate_id, reason="The run was cancelled.", at=at
            ).facts
        advance(opened)
        return opened.run


def may_control(run: Run, by: Actor) -> bool:
    """Operators and admins control every run, people also what they proposed."""
    if by.kind is not ActorKind.USER:
        return False
    rights = rights_of(by)
    own = by.key in {run.proposer, run.proposer_owner}
    return Right.CONTROL in rights or (own and Right.PROPOSE in rights)


def _require_control(run_id: UUID, by: Actor) -> None:
    if by.kind is not ActorKind.USER:
        require(by, Right.CONTROL)
    if not may_control(selectors.get(by, run_id), by):
        raise NotControllable(run=str(run_id))


def _require(opened: Change, event: RunEvent) -> None:
    """Check that the run can be moved so, or say in words for people why not."""
    state = RunState(opened.run.state)
    if RUN.allows(state, event):
        return
    word, what = state.replace("_", " "), WORDS[event]
    sentence = (
        f"The run has ended ({word}); it can no longer be {what}."
        if state in RUN.final
        else f"The run is {word}; it cannot be {what}."
    )
    raise IllegalTransition(
        sentence, machine=RUN.name, state=str(state), event=str(event)
    )
