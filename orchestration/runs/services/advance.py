"""Carrying out what the decider says, within one change."""

from functools import singledispatch
from typing import Any

from approvals import services as approvals
from execfabric.lib.refusal import Refusal
from orchestration.plans.domain.document import StepDocument
from orchestration.runs.domain import decider
from orchestration.runs.domain.decider import Snapshot, StepView
from orchestration.runs.domain.states import (
    FINAL_RUN,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.models import StepRun
from orchestration.runs.services import specs, store, subjects
from orchestration.runs.services.transitions import Change

UNANSWERED = "gate.expired"
REFUSED = "gate.rejected"
_STATES = {str(state): state for state in StepState}


def advance(change: Change) -> None:
    """Do everything that is due in a run until all that is left is to wait."""
    # Each round moves at least one step along a table without cycles among the
    # moves made here, so the bound is never met by a sound table.
    for _ in range(4 * len(change.steps) + 4):
        if change.run.state in FINAL_RUN:
            return
        actions = decider.next_actions(snapshot(change))
        for action in actions:
            _carry_out(action, change)
        if not actions or all(isinstance(a, decider.Drain) for a in actions):
            return


def snapshot(change: Change) -> Snapshot:
    """A run as the decider sees it."""
    planned = change.document.by_id()
    return Snapshot(
        state=RunState(change.run.state),
        parallel_max=change.run.parallel_max,
        on_failure=change.document.on_failure,
        steps=[_view(planned[key], step) for key, step in change.steps.items()],
    )


def open_plan_gate(change: Change) -> None:
    """Open a gate on the run as it is now; it becomes the run's plan gate."""
    opened = approvals.open_gate(subject=subjects.of_run(change), at=change.at)
    change.facts += opened.facts
    change.bind_gate(opened.gate.id)


def withdraw_gate(change: Change, step: StepRun, reason: str) -> None:
    """Take back the open question of a step that will not run."""
    if step.gate_id is not None:
        withdrawn = approvals.withdraw(
            gate_id=step.gate_id, reason=reason, at=change.at
        )
        change.facts += withdrawn.facts


def fail(change: Change, step: StepRun, error: Refusal) -> None:
    """Fail a step that could not even start, saying why."""
    fact = {"code": error.code, "message": error.message, "ran": False}
    change.move_step(step, StepEvent.FAILED, {"error": fact}, error=fact)


def _view(planned: StepDocument, step: StepRun) -> StepView:
    return StepView(
        step.key,
        _STATES[step.state],
        planned.depends_on,
        planned.trigger_rule,
        step.error is not None and step.error.get("code") == UNANSWERED,
    )


@singledispatch
def _carry_out(action: Any, change: Change) -> None:
    message = f"{change.run} cannot carry out {type(action).__name__}"
    raise TypeError(message)


@_carry_out.register
def _release(action: decider.Release, change: Change) -> None:
    step = change.step(action.key)
    try:
        spec = specs.build(change, step)
    except Refusal as error:
        fail(change, step, error)
        return
    change.add(store.keep_spec(spec.digest, spec.body))
    change.built[step.key] = spec
    if not spec.demand.needed:
        change.move_step(
            step, StepEvent.RELEASED, {"digest": spec.digest}, spec_id=spec.digest
        )
        return
    subject = subjects.of_step(change, step, spec)
    opened = approvals.open_gate(subject=subject, at=change.at)
    change.facts += opened.facts
    change.move_step(
        step,
        StepEvent.GATE_OPENED,
        {"digest": spec.digest, "gate": str(opened.gate.id)},
        spec_id=spec.digest,
        gate_id=opened.gate.id,
    )


@_carry_out.register
def _skip(action: decider.Skip, change: Change) -> None:
    step = change.step(action.key)
    fact = {"code": "step.skipped", "message": action.reason, "ran": False}
    change.move_step(step, StepEvent.SKIPPED, {"reason": action.reason}, error=fact)


@_carry_out.register
def _cancel(action: decider.Cancel, change: Change) -> None:
    step = change.step(action.key)
    if step.state == StepState.GATED:
        withdraw_gate(change, step, "The run ended before anybody had to decide.")
    change.move_step(step, StepEvent.CANCELLED)


@_carry_out.register
def _move(action: decider.Move, change: Change) -> None:
    change.move_run(action.event, action.reason or _kept_reason(action, change))


@_carry_out.register
def _drain(action: decider.Drain, change: Change) -> None:
    del action, change


def _kept_reason(action: decider.Move, change: Change) -> str:
    """A confirmed pause or cancel keeps the reason it was asked for with."""
    confirmed = action.event in {RunEvent.PAUSED, RunEvent.CANCELLED}
    return change.run.reason if confirmed else ""
