"""Deciding a gate, and what follows from it: the one way for every interface."""

from datetime import datetime
from uuid import UUID

from approvals import selectors
from approvals import services as approvals
from approvals.models import Gate
from execfabric.identity.authority import require
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from orchestration.runs.control import dry_runs
from orchestration.runs.domain import outcome
from orchestration.runs.domain.outcome import Verdict
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import RunState, StepEvent, StepState
from orchestration.runs.engine import subjects
from orchestration.runs.engine.advance import advance, carry_out
from orchestration.runs.engine.transitions import Change, change
from orchestration.runs.models import StepRun


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
    run_id, kind = selectors.context_of(by=by, gate_id=gate_id)
    try:
        with change(run_id, by=by, at=at) as opened:
            if approve and kind == subjects.RUN:
                dry_runs.require_ended(opened.run)
            recorded = approvals.record_decision(
                gate_id=gate_id,
                by=by,
                approve=approve,
                digest=digest,
                comment=comment,
                channel=channel,
                proposer_active=opened.loaded.proposer_active,
                at=at,
            )
            opened.facts += recorded.facts
            if recorded.settled:
                _follow(
                    opened,
                    recorded.gate,
                    Verdict.APPROVED if approve else Verdict.REJECTED,
                )
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
        _follow(opened, expired.gate, Verdict.EXPIRED)
        return True


def _follow(opened: Change, gate: Gate, verdict: Verdict) -> None:
    """Do what the end of a gate means, if it is still the one in force."""
    if gate.subject_kind == subjects.RUN:
        run = opened.run
        if run.gate_id == gate.id and run.state == RunState.AWAITING_APPROVAL:
            carry_out(outcome.of_plan_gate(verdict, opened.loaded.progress), opened)
    else:
        step = opened.step(gate.subject_id)
        if step.gate_id == gate.id and step.state == StepState.GATED:
            _move_step(opened, step, verdict)
    advance(opened)


def _move_step(opened: Change, step: StepRun, verdict: Verdict) -> None:
    end = outcome.of_step_gate(verdict, only_asks=step.kind == "approval")
    columns = end.columns()
    if end.event is StepEvent.SUCCEEDED:
        output = {"approved": True}
        columns |= {"output": output, "output_digest": result_digest(output, {})}
    opened.move_step(step, end.event, {"gate": str(step.gate_id)}, **columns)
