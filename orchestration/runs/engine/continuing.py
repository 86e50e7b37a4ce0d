"""Continue a stopped rollback after a user has acted on the undo that stopped it."""

from typing import Any

from audit import selectors as audit
from orchestration.plans.domain.undo import is_undo
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.states import RunEvent, StepState
from orchestration.runs.engine import undos
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun

STARTED = f"run.{RunEvent.ROLLBACK_STARTED}"


def go_on(change: RunChange, reason: str, *, retried: StepRun | None = None) -> None:
    """Run the undos that a stopped rollback has not reached, exactly as planned.

    `retried` is the undo that stopped it, if it is tried again.

    :raises RollbackBlocked: when a step may still have an effect
    """
    undos.require_settled(change)
    before = _last_request(change)
    planned = {each["step_run"]: each for each in before.get("undo", ())}
    rows = [
        row
        for row in change.steps.values()
        if str(row.parent_id) in planned and (row is retried or _was_not_reached(row))
    ]
    fact = {
        "to": before.get("to", ""),
        "undo": [planned[str(row.parent_id)] for row in rows],
        "not_undone": [],
        "preview": before.get("preview", ""),
    }
    change.begin_rollback([], reason, fact)
    for row in rows:
        undos.again(change, row, row.reuse_digest)


def _was_not_reached(row: StepRun) -> bool:
    """Return True for an undo that the stop of the rollback has left out."""
    is_left = is_undo(row.key) and row.state == StepState.SKIPPED
    return is_left and (row.error or {}).get("code") != SKIPPED_BY_USER


def _last_request(change: RunChange) -> dict[str, Any]:
    """Return the payload of the event that began the rollback, or continued it last."""
    newest = next(audit.newest_of(change.run.stream, STARTED, ""), None)
    payload: dict[str, Any] = audit.envelope(newest)["payload"] if newest else {}
    return payload
