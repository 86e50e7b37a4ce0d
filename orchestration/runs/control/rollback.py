"""Roll back runs by hand: preview, confirm, continue after a failed undo."""

from datetime import datetime
from uuid import UUID

from execfabric.lib.actor import Actor
from execfabric.lib.machine import IllegalTransition
from execfabric.lib.text import is_visible
from orchestration.runs import selectors
from orchestration.runs.control.control import may_control, require_control
from orchestration.runs.domain.states import RUN, RunEvent, RunState
from orchestration.runs.engine import undos
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.engine.undos import Rollback
from orchestration.runs.errors import PreviewChanged, RollbackReasonRequired
from orchestration.runs.models import Run

STOP_FIRST = frozenset({RunState.RUNNING, RunState.PAUSING, RunState.QUEUED})


def preview(*, run_id: UUID, by: Actor, at: datetime, to: str = "") -> Rollback:
    """Return what a rollback would do now, in the order in which it would run.

    With `to`, what completed after that step. Nothing is changed.

    :raises RunUnknown: when the run does not exist, or `by` may not see it
    :raises IllegalTransition: when the run cannot be rolled back now
    :raises RollbackBlocked: when a step may still have an effect
    :raises RollbackTargetInvalid: when `to` is not a completed step
    :raises NothingToUndo: when no step has an undo that has not run
    :raises ContractUnreadable: when the contract of a step is unreadable
    """
    selectors.get(by, run_id, needs=())
    with locked_change(run_id, by=by, at=at) as change:
        return _planned(change, to)


def roll_back(
    *, run_id: UUID, by: Actor, at: datetime, reason: str, digest: str, to: str = ""
) -> Run:
    """Begin the rollback that was previewed, or continue one that has stopped.

    `digest` is that of the preview. The errors are those of `preview`, and:

    :raises NotControllable: when `by` may not control this run
    :raises RollbackReasonRequired: when the reason is empty
    :raises PreviewChanged: when it would do something else than the preview showed
    """
    require_control(run_id, by)
    if not is_visible(reason):
        raise RollbackReasonRequired
    with locked_change(run_id, by=by, at=at) as change:
        rollback = _planned(change, to)
        if rollback.digest != digest:
            raise PreviewChanged(digest=rollback.digest)
        undos.begin(change, rollback, reason)
        advance(change)
        return change.run


def may_begin(run: Run, by: Actor) -> bool:
    """Return True if `by` may begin a rollback in the state of the run."""
    return _is_allowed(RunState(run.state)) and may_control(run, by)


def _is_allowed(state: RunState) -> bool:
    return RUN.allows(state, RunEvent.ROLLBACK_STARTED) and state not in STOP_FIRST


def _planned(change: RunChange, to: str) -> Rollback:
    _require_allowed(change)
    return undos.plan_rollback(change, to=to)


def _require_allowed(change: RunChange) -> None:
    """Check that a user may begin a rollback in the state of the run.

    :raises IllegalTransition: when no one can
    """
    state = RunState(change.run.state)
    if _is_allowed(state):
        return
    word = state.replace("_", " ")
    advice = " Pause or cancel it first." if state in STOP_FIRST else ""
    raise IllegalTransition(
        f"Cannot roll back the run: it is {word}.{advice}",
        machine=RUN.name,
        state=str(state),
        event=str(RunEvent.ROLLBACK_STARTED),
    )
