"""Carry out the decider's actions within one change."""

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

from approvals.domain.states import GateStatus
from approvals.services import gates as approvals
from execfabric.lib.clock import elapsed_ms
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain import decider, outcome, rollback
from orchestration.runs.domain.progress import UPSTREAM_FAILED
from orchestration.runs.domain.states import RunEvent, RunState, StepEvent, StepState
from orchestration.runs.engine import (
    carrying,
    conditions,
    ends,
    failures,
    fan_out,
    queues,
    reuse,
    specs,
    subjects,
    subplans,
    undos,
    waits,
)
from orchestration.runs.engine.loading import chosen_by
from orchestration.runs.engine.specs import Spec
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import CONTAINERS, FOR_EACH, StepRun


def advance(change: RunChange) -> None:
    """Carry out all actions that are due, until the run can only wait.

    Steps whose conditions would take too long here stay pending, for the next change.
    """
    # Each round moves at least one step, and the moves made here have no cycle in the
    # state table, so this bound is never reached.
    rounds = 0
    while rounds < 4 * len(change.steps) + 4:
        rounds += 1
        actions = _due(change)
        recorded = len(change.facts)
        carry_out(actions, change)
        if len(change.facts) == recorded:
            return


def _due(change: RunChange) -> Sequence[decider.Action]:
    state, progress = RunState(change.run.state), change.loaded.progress
    if state is RunState.ROLLING_BACK:
        return rollback.next_actions(progress, change.loaded.undos)
    return decider.next_actions(
        state,
        progress,
        needs_place=queues.needs_place(change.run),
        failures=change.run.failures,
        rollback_after=change.run.rollback_after,
    )


def open_plan_gate(change: RunChange) -> None:
    """Open a gate on the current content of the run, as its plan gate.

    The gate of a rerun may have the approval of the run before; then the run starts.
    """
    gate = subjects.of_run(change)
    carrying.open_plan_gate(change, gate)
    change.bind_gate(gate.id)
    if gate.status == GateStatus.APPROVED:
        carry_out(
            outcome.of_plan_gate(GateStatus.APPROVED, change.loaded.progress), change
        )
        advance(change)


def fail(change: RunChange, step: StepRun, error: Refusal) -> None:
    """Fail a step that could not start, with the reason."""
    ends.fail(change, step, error.code, error.message, **_without_wait(step))


def carry_out(actions: Iterable[decider.Action], change: RunChange) -> None:
    for action in actions:
        if isinstance(action, decider.Move):
            _move_run(action, change)
        elif isinstance(action, decider.Enter):
            queues.enter_run(change)
        else:
            _move_step(action, change.step(action.key), change)


def _move_step(action: decider.StepAction, step: StepRun, change: RunChange) -> None:
    match action:
        case decider.Release():
            _release(step, change)
        case decider.Skip(_, reason):
            _skip(step, reason, change)
        case decider.LeaveOut():
            _leave_out(step, _reason_of(change, step), change)
        case decider.Cancel():
            _cancel(step, change)
        case decider.TryAgain():
            failures.try_again(step, change)
        case decider.Revive():
            _revive(step, change)
        case _:
            _end_or_reopen(action, step, change)


def _end_or_reopen(
    action: decider.Reopen | decider.Close | decider.FallBack | decider.EndFallback,
    step: StepRun,
    change: RunChange,
) -> None:
    """Move a step by the state of other step runs: its members, or its fallback."""
    match action:
        case decider.FallBack():
            failures.begin_fallback(step, change)
        case decider.EndFallback():
            failures.end_fallback(step, change)
        case decider.Reopen():
            change.move_step(step, StepEvent.REOPENED)
        case decider.Close(_, event):
            part = fan_out if step.kind == FOR_EACH else subplans
            part.close(change, step, event)
        case _:
            assert_never(action)


def _skip(step: StepRun, reason: str, change: RunChange) -> None:
    """Skip a step because of a failure."""
    _withdraw(step, change, reason)
    error = {"code": UPSTREAM_FAILED, "message": reason, "ran": False}
    columns = _without_wait(step)
    change.move_step(
        step, StepEvent.SKIPPED, {"reason": reason}, error=error, **columns
    )


def _without_wait(step: StepRun) -> dict[str, Any]:
    """Return the columns to clear: a row has the end of a wait only while it waits."""
    return {"not_before": None} if step.state == StepState.WAITING else {}


def _revive(step: StepRun, change: RunChange) -> None:
    """Make a skipped step pending; one that was released before is released again.

    A container with members keeps what it was expanded with.
    """
    columns: dict[str, Any] = {"error": None}
    if step.spec_id is not None and step.kind not in CONTAINERS:
        columns |= {"spec_id": None, "gate_id": None, "not_before": None}
    if step.kind == "wait":
        # It may have waited for an event before, and waits again.
        columns["generation"] = step.generation + 1
    change.move_step(step, StepEvent.REVIVED, **columns)


def _release(step: StepRun, change: RunChange) -> None:
    """Release a step whose turn has come, unless its condition is false."""
    if conditions.is_for_later(change, step):
        return
    columns: dict[str, Any] = {}
    try:
        if condition := conditions.decided(change, step):
            columns["condition"] = condition
            if not condition["result"]:
                reason = f"Its condition is false: {condition['when']}"
                _leave_out(step, {**condition, "reason": reason}, change)
                return
        if reuse.take_result(change, step, columns):
            return
        if not queues.may_be_released(change, step, columns):
            return
        spec = _begun(step, columns, change)
    except Refusal as error:
        fail(change, step, error)
        return
    if spec is not None:
        _start(step, spec, columns, change)


def _begun(step: StepRun, columns: dict[str, Any], change: RunChange) -> Spec | None:
    """Return the spec of a step; None for a kind that runs nothing itself and began."""
    match step.kind:
        case "choose":
            _choose(step, columns.get("condition", {}), change)
        case "wait":
            waits.begin(change, step, columns)
        case "for_each":
            fan_out.expand(change, step, columns)
        case "plan":
            subplans.expand(change, step, columns)
        case _:
            spec = specs.build(change, step)
            undos.require_planned(step, spec)
            specs.require_space(change, spec.body)
            return spec
    return None


def _start(
    step: StepRun, spec: Spec, columns: dict[str, Any], change: RunChange
) -> None:
    """Make a step ready, or open its gate."""
    if spec.demand.needed:
        change.require_lock()
    change.store_spec(spec.digest, spec.body)
    change.built[step.id] = spec
    gate = None
    event, payload = StepEvent.RELEASED, {"digest": spec.digest, **columns}
    columns |= {"spec_id": spec.digest, "reuse_digest": spec.reuse_digest}
    if spec.demand.needed:
        gate = subjects.of_step(change, step, spec)
        carrying.open_step_gate(change, gate, step)
        event, payload["gate"] = StepEvent.GATE_OPENED, str(gate.id)
        columns["gate_id"] = gate.id
    change.move_step(step, event, payload, **columns)
    if gate and gate.status == GateStatus.APPROVED:
        ends.gate(change, step, GateStatus.APPROVED)


def _choose(step: StepRun, condition: dict[str, Any], change: RunChange) -> None:
    """Complete a choose step with the rule that applies."""
    choice = conditions.chosen(change, step)
    stored = {"condition": {"result": True, **condition, **choice}}
    output = conditions.output_of(choice)
    ends.succeed(change, step, output, stored, started_at=change.at, **stored)


def _leave_out(step: StepRun, why: dict[str, Any], change: RunChange) -> None:
    """Skip a step because of a condition; this is no failure."""
    condition = {"result": False, **why}
    change.move_step(
        step,
        StepEvent.SKIPPED_BY_CONDITION,
        {"reason": why["reason"], "condition": condition},
        condition=condition,
        error=None,
    )


def _reason_of(change: RunChange, step: StepRun) -> dict[str, Any]:
    """Return why the conditions of other steps have left a step out."""
    router = change.loaded.router_of(step)
    if router is not None and step.key not in chosen_by(router):
        verb = "did not choose it"
        if router.state == StepState.SKIPPED_BY_CONDITION:
            verb = "was skipped by a condition"
        return {"reason": f"Step {router.key} {verb}.", "router": router.key}
    planned = change.plan_step(step)
    if planned.trigger_rule == "all_success":
        return {"reason": "Conditions skipped all steps that it depends on."}
    return {"reason": "Conditions skipped too many of the steps that it depends on."}


def _cancel(step: StepRun, change: RunChange) -> None:
    _withdraw(step, change, "The run ended before this approval was decided.")
    change.move_step(step, StepEvent.CANCELLED, **_without_wait(step))


def _withdraw(step: StepRun, change: RunChange, reason: str) -> None:
    """Withdraw the open gate of a step that will not run."""
    if step.state == StepState.GATED and step.gate_id is not None:
        change.require_lock()
        change.facts += approvals.withdraw(
            gate_id=step.gate_id, reason=reason, at=change.at
        ).facts


def _move_run(action: decider.Move, change: RunChange) -> None:
    fields: dict[str, Any] = {}
    if action.event is RunEvent.APPROVED and change.run.started_at is None:
        fields["started_at"] = change.at
    if action.event is RunEvent.SUCCEEDED:
        _succeed(change)
        return
    if action.event is RunEvent.ROLLBACK_STARTED:
        undos.begin_automatic(change, action.reason)
        return
    # A confirmed pause, cancel or abort keeps the reason of its request.
    is_confirmed = (
        action.event in {RunEvent.PAUSED, RunEvent.CANCELLED}
        or change.run.state == RunState.ABORTING
    )
    requested = change.run.reason if is_confirmed else ""
    fact = {}
    if action.event is RunEvent.EXPIRED:
        fact["elapsed_ms"] = elapsed_ms(change.run.created_at, change.at)
    change.move_run(action.event, action.reason or requested, fact, **fields)


def _succeed(change: RunChange) -> None:
    """End a run whose steps have succeeded, if its outputs have values."""
    try:
        digest = subplans.run_output_digest(change)
    except Refusal as error:
        reason = f"All steps succeeded, but the run has no output. {error.message}"
        change.move_run(RunEvent.FAILED, reason)
        return
    change.move_run(RunEvent.SUCCEEDED, payload={"output": digest} if digest else {})
