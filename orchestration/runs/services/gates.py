"""Deciding a gate, and what follows from it: the one way for every interface."""

from datetime import datetime
from uuid import UUID

from approvals import selectors
from approvals import services as approvals
from approvals.models import Gate
from execfabric.accounts.authority import Right, require
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import (
    STEP_RUN,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.services import dry_runs, subjects
from orchestration.runs.services.advance import (
    REFUSED,
    UNANSWERED,
    advance,
    withdraw_gate,
)
from orchestration.runs.services.transitions import Change, change


def decide(
    *,
    gate_id: UUID,
    by: Actor,
    approve: bool,
    digest: str,
    comment: str,
    channel: str,
    at: datetime,
) -> Gate:
    """Record one person's answer to a gate and let the run go on from it.

    `digest` is that of the content the person saw, as hex.

    :raises AgentsCannotDecide: for anybody who is not a person
    :raises DryRunPending: when a plan is approved before its dry run has ended
    :raises ApprovalRefusal: whatever `approvals.record_decision` refuses
    """
    if by.kind is not ActorKind.USER:
        require(by, Right.DECIDE)
    gate = selectors.get(by=by, gate_id=gate_id)
    try:
        with change(gate.context_id, by=by, at=at) as opened:
            if approve and gate.subject_kind == subjects.RUN:
                dry_runs.require_ended(opened.run)
            recorded = approvals.record_decision(
                gate_id=gate_id,
                by=by,
                approve=approve,
                digest=digest,
                comment=comment,
                channel=channel,
                at=at,
            )
            opened.facts += recorded.facts
            if recorded.settled:
                _settled(opened, recorded.gate, approved=approve)
                advance(opened)
            return recorded.gate
    except Refusal as error:
        approvals.record_refusal(gate_id=gate_id, by=by, error=error, at=at)
        raise


def expire(*, gate_id: UUID, context_id: UUID, by: Actor, at: datetime) -> bool:
    """End a gate that nobody settled in time; False when it was settled meanwhile."""
    with change(context_id, by=by, at=at) as opened:
        expired = approvals.expire(gate_id=gate_id, at=at)
        if expired is None:
            return False
        opened.facts += expired.facts
        _unanswered(opened, expired.gate)
        advance(opened)
        return True


def _settled(opened: Change, gate: Gate, *, approved: bool) -> None:
    if gate.subject_kind == subjects.RUN:
        _plan_settled(opened, gate, approved=approved)
        return
    step = opened.step_by_id(gate.subject_id)
    if step.gate_id != gate.id or step.state != StepState.GATED:
        return
    if not approved:
        fact = {"code": REFUSED, "message": "People said no.", "ran": False}
        opened.move_step(
            step, StepEvent.GATE_REJECTED, {"gate": str(gate.id)}, error=fact
        )
    elif step.kind == "approval":
        output = {"approved": True}
        opened.move_step(
            step,
            StepEvent.SUCCEEDED,
            {"gate": str(gate.id)},
            output=output,
            output_digest=result_digest(output, {}),
        )
    else:
        opened.move_step(step, StepEvent.GATE_APPROVED, {"gate": str(gate.id)})


def _plan_settled(opened: Change, gate: Gate, *, approved: bool) -> None:
    run = opened.run
    if run.gate_id != gate.id or run.state != RunState.AWAITING_APPROVAL:
        return
    if approved:
        started = run.started_at or opened.at
        opened.move_run(RunEvent.APPROVED, started_at=started)
        return
    _end(opened, RunEvent.REJECTED, "The plan was not approved.")


def _unanswered(opened: Change, gate: Gate) -> None:
    if gate.subject_kind == subjects.RUN:
        if opened.run.gate_id == gate.id and (
            opened.run.state == RunState.AWAITING_APPROVAL
        ):
            _end(opened, RunEvent.EXPIRED, "Nobody answered for the plan in time.")
        return
    step = opened.step_by_id(gate.subject_id)
    if step.gate_id == gate.id and step.state == StepState.GATED:
        fact = {"code": UNANSWERED, "message": "Nobody answered in time.", "ran": False}
        opened.move_step(
            step, StepEvent.GATE_REJECTED, {"gate": str(gate.id)}, error=fact
        )


def _end(opened: Change, event: RunEvent, reason: str) -> None:
    """End a run whose plan has no approval (any more); a step under way is awaited."""
    states = {StepState(step.state) for step in opened.steps.values()}
    if StepState.RUNNING in states:
        opened.move_run(RunEvent.CANCEL_REQUESTED, reason)
        return
    for step in opened.steps.values():
        if step.state == StepState.GATED:
            withdraw_gate(opened, step, reason)
        if STEP_RUN.allows(StepState(step.state), StepEvent.CANCELLED):
            opened.move_step(step, StepEvent.CANCELLED)
    opened.move_run(event, reason)
