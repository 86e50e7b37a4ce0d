"""Continue a stopped rollback after a user has acted on the undo that stopped it."""

from collections.abc import Iterator, Mapping
from typing import Any

from audit import selectors as audit
from orchestration.plans.domain.undo import is_undo
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.rollback import NOT_POSSIBLE
from orchestration.runs.domain.states import RunEvent, RunState, StepState
from orchestration.runs.engine import ends, settled, undos
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun

STARTED = f"run.{RunEvent.ROLLBACK_STARTED}"


def go_on(change: RunChange, reason: str, *, retried: StepRun | None = None) -> None:
    """Run the undos that a stopped rollback has not reached, exactly as planned.

    `retried` is the undo that stopped it, if it is tried again.

    :raises RollbackBlocked: when a step may still have an effect
    """
    settled.require_settled(change)
    requests = _requests(change)
    before = next(requests, {})
    back_to, planned = before.get("back_to", ""), _planned(before)
    if retried is not None and str(retried.parent_id) not in planned:
        back_to, entry = _left_out(retried, requests)
        planned[str(retried.parent_id)] = entry
    rows = [
        row
        for row in change.steps.values()
        if is_undo(row.key) and str(row.parent_id) in planned
    ]
    again = [row for row in rows if row is retried or _was_not_reached(row)]
    # What is not tried now stays a part of the rollback, for a later retry.
    left = [planned[str(row.parent_id)] for row in rows if undos.is_open(row)]
    change.begin_rollback([], reason, _fact(back_to, left))
    for row in again:
        undos.again(change, row, row.reuse_digest)
        if reason := planned[str(row.parent_id)].get("reason"):
            ends.fail(change, row, NOT_POSSIBLE, reason)


def end_if_done(change: RunChange, undo: StepRun) -> None:
    """End a stopped rollback after the outcome of its last undo was found."""
    is_stopped = change.run.state == RunState.ROLLBACK_FAILED
    if not is_stopped or not is_undo(undo.key) or undo.state != StepState.SUCCEEDED:
        return
    if not any(
        is_undo(row.key) and undos.is_open(row) for row in change.steps.values()
    ):
        reason = f"It was found that {change.loaded.title(undo)} happened."
        back_to = next(_requests(change), {}).get("back_to", "")
        change.begin_rollback([], reason, _fact(back_to, []))


def _fact(back_to: str, left: list[dict[str, Any]]) -> dict[str, Any]:
    return {"back_to": back_to, "undo": left, "not_undone": []}


def _planned(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request has planned for each step that it undoes."""
    return {each["step_run"]: each for each in request.get("undo", ())}


def _left_out(
    undo: StepRun, earlier: Iterator[dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    """Return what the newest earlier request has planned for an undo, and its target."""
    for request in earlier:
        if entry := _planned(request).get(str(undo.parent_id)):
            return request.get("back_to", ""), entry
    raise LookupError(undo.key)


def _was_not_reached(row: StepRun) -> bool:
    """Return True for an undo that the stop of the rollback has left out."""
    is_left = is_undo(row.key) and row.state == StepState.SKIPPED
    return is_left and (row.error or {}).get("code") != SKIPPED_BY_USER


def _requests(change: RunChange) -> Iterator[dict[str, Any]]:
    """Iterate over what began the rollback, or continued it, the newest first."""
    for event in audit.newest_of(change.run.stream, STARTED, ""):
        yield audit.envelope(event)["payload"]
