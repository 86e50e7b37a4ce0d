"""Carrying out what the decider says, within one change."""

from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from approvals import services as approvals
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain import decider
from orchestration.runs.domain.progress import UPSTREAM_FAILED
from orchestration.runs.domain.states import (
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.models import StepRun
from orchestration.runs.services import specs, subjects
from orchestration.runs.services.transitions import Change


def advance(change: Change) -> None:
    """Do everything that is due in a run until all that is left is to wait."""
    # Each round moves at least one step along a table without cycles among the
    # moves made here, so the bound is never met by a sound table.
    for _ in range(4 * len(change.steps) + 4):
        actions = decider.next_actions(
            RunState(change.run.state), change.loaded.progress
        )
        carry_out(actions, change)
        if not actions:
            return


def open_plan_gate(change: Change) -> None:
    """Open a gate on the run as it is now; it becomes the run's plan gate."""
    opened = approvals.open_gate(subject=subjects.of_run(change), at=change.at)
    change.facts += opened.facts
    change.bind_gate(opened.gate.id)


def fail(change: Change, step: StepRun, error: Refusal) -> None:
    """Fail a step that could not even start, saying why."""
    fact = {"code": error.code, "message": error.message, "ran": False}
    change.move_step(step, StepEvent.FAILED, {"error": fact}, error=fact)


def carry_out(actions: Iterable[decider.Action], change: Change) -> None:
    """Do what the domain decided, in order."""
    for action in actions:
        _carry_out(action, change)


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
    if spec.demand.needed:
        change.need_lock()
    change.keep_spec(spec.digest, spec.body)
    change.built[step.id] = spec
    if not spec.demand.needed:
        change.move_step(
            step,
            StepEvent.RELEASED,
            {"digest": spec.digest},
            spec_id=spec.digest,
            reuse_digest=spec.reuse_digest,
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
        reuse_digest=spec.reuse_digest,
        gate_id=opened.gate.id,
    )


@_carry_out.register
def _skip(action: decider.Skip, change: Change) -> None:
    step = change.step(action.key)
    fact = {"code": UPSTREAM_FAILED, "message": action.reason, "ran": False}
    change.move_step(step, StepEvent.SKIPPED, {"reason": action.reason}, error=fact)


@_carry_out.register
def _cancel(action: decider.Cancel, change: Change) -> None:
    step = change.step(action.key)
    if step.state == StepState.GATED and step.gate_id is not None:
        change.need_lock()
        reason = "The run ended before a decision was needed."
        withdrawn = approvals.withdraw(
            gate_id=step.gate_id, reason=reason, at=change.at
        )
        change.facts += withdrawn.facts
    change.move_step(step, StepEvent.CANCELLED)


@_carry_out.register
def _retry(action: decider.TryAgain, change: Change) -> None:
    step = change.step(action.key)
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


@_carry_out.register
def _revive(action: decider.Revive, change: Change) -> None:
    change.move_step(change.step(action.key), StepEvent.REVIVED, error=None)


@_carry_out.register
def _move(action: decider.Move, change: Change) -> None:
    fields = {}
    if action.event is RunEvent.APPROVED and change.run.started_at is None:
        fields["started_at"] = change.at
    reason = action.reason or _kept_reason(action, change)
    change.move_run(action.event, reason, **fields)


def _kept_reason(action: decider.Move, change: Change) -> str:
    """A confirmed pause or cancel keeps the reason it was asked for with."""
    confirmed = action.event in {RunEvent.PAUSED, RunEvent.CANCELLED}
    return change.run.reason if confirmed else ""
