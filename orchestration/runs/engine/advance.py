"""Carry out the decider's actions within one change."""

from collections.abc import Iterable
from typing import Any, assert_never

from approvals import services as approvals
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain import decider
from orchestration.runs.domain.progress import UPSTREAM_FAILED
from orchestration.runs.domain.states import RunEvent, RunState, StepEvent, StepState
from orchestration.runs.engine import specs, subjects
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun


def advance(change: RunChange) -> None:
    """Carry out all actions that are due, until the run can only wait."""
    # Each round moves at least one step, and the moves made here have no cycle in the
    # state table, so this bound is never reached.
    for _ in range(4 * len(change.steps) + 4):
        actions = decider.next_actions(
            RunState(change.run.state), change.loaded.progress
        )
        carry_out(actions, change)
        if not actions:
            return


def open_plan_gate(change: RunChange) -> None:
    """Open a gate on the current content of the run, as its plan gate."""
    opening = approvals.open_gate(subject=subjects.of_run(change), at=change.at)
    change.facts += opening.facts
    change.bind_gate(opening.gate.id)


def fail(change: RunChange, step: StepRun, error: Refusal) -> None:
    """Fail a step that could not start, with the reason."""
    fact = {"code": error.code, "message": error.message, "ran": False}
    change.move_step(step, StepEvent.FAILED, {"error": fact}, error=fact)


def carry_out(actions: Iterable[decider.Action], change: RunChange) -> None:
    """Carry out actions in order."""
    for action in actions:
        if isinstance(action, decider.Move):
            _move_run(action, change)
        else:
            _move_step(action, change.step(action.key), change)


def _move_step(action: decider.StepAction, step: StepRun, change: RunChange) -> None:
    match action:
        case decider.Release():
            _release(step, change)
        case decider.Skip(_, reason):
            error = {"code": UPSTREAM_FAILED, "message": reason, "ran": False}
            change.move_step(step, StepEvent.SKIPPED, {"reason": reason}, error=error)
        case decider.Cancel():
            _cancel(step, change)
        case decider.TryAgain():
            _try_again(step, change)
        case decider.Revive():
            change.move_step(step, StepEvent.REVIVED, error=None)
        case _:
            assert_never(action)


def _release(step: StepRun, change: RunChange) -> None:
    try:
        spec = specs.build(change, step)
    except Refusal as error:
        fail(change, step, error)
        return
    if spec.demand.needed:
        change.require_lock()
    change.store_spec(spec.digest, spec.body)
    change.built[step.id] = spec
    event, payload = StepEvent.RELEASED, {"digest": spec.digest}
    columns: dict[str, Any] = {
        "spec_id": spec.digest,
        "reuse_digest": spec.reuse_digest,
    }
    if spec.demand.needed:
        subject = subjects.of_step(change, step, spec)
        opening = approvals.open_gate(subject=subject, at=change.at)
        change.facts += opening.facts
        event, payload["gate"] = StepEvent.GATE_OPENED, str(opening.gate.id)
        columns["gate_id"] = opening.gate.id
    change.move_step(step, event, payload, **columns)


def _cancel(step: StepRun, change: RunChange) -> None:
    if step.state == StepState.GATED and step.gate_id is not None:
        change.require_lock()
        reason = "The run ended before this approval was decided."
        change.facts += approvals.withdraw(
            gate_id=step.gate_id, reason=reason, at=change.at
        ).facts
    change.move_step(step, StepEvent.CANCELLED)


def _try_again(step: StepRun, change: RunChange) -> None:
    generation = step.generation + 1
    change.move_step(
        step,
        StepEvent.RETRIED,
        {"generation": generation},
        generation=generation,
        tries=0,
        spec_id=None,
        gate_id=None,
        error=None,
        not_before=None,
    )


def _move_run(action: decider.Move, change: RunChange) -> None:
    fields = {}
    if action.event is RunEvent.APPROVED and change.run.started_at is None:
        fields["started_at"] = change.at
    # A confirmed pause or cancel keeps the reason of its request.
    is_confirmed = action.event in {RunEvent.PAUSED, RunEvent.CANCELLED}
    requested = change.run.reason if is_confirmed else ""
    change.move_run(action.event, action.reason or requested, **fields)
