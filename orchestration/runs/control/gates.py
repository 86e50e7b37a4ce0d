"""Decide gates and carry out what follows, for every interface."""

from datetime import datetime
from uuid import UUID

from approvals import selectors
from approvals.domain.states import GateStatus
from approvals.models import INPUT, Gate
from approvals.services import decisions
from approvals.services import gates as approvals
from execfabric.identity.authority import require
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from orchestration.runs.control import dry_runs
from orchestration.runs.domain import outcome
from orchestration.runs.domain.states import RunState, StepState
from orchestration.runs.engine import edits, ends, subjects
from orchestration.runs.engine.advance import advance, carry_out
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ValuesRequired


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
    """Record a user's decision on a gate and advance the run.

    `digest` is that of the content that the user saw, as hex.

    :raises AgentsCannotDecide: when `by` is not a user
    :raises ValuesRequired: when a gate that asks for values is approved without them
    :raises DryRunPending: when a plan is approved before its dry run has finished
    :raises ApprovalRefusal: see `decisions.record_decision`
    """
    if by.kind is not ActorKind.USER:
        require(by, Right.DECIDE)
    run_id, kind = selectors.context_of(by=by, gate_id=gate_id)
    if approve and kind == INPUT:
        raise ValuesRequired(gate=str(gate_id))
    try:
        with locked_change(run_id, by=by, at=at) as change:
            if approve and kind == subjects.RUN:
                dry_runs.require_ended(change.run)
            recorded = decisions.record_decision(
                gate_id=gate_id,
                by=by,
                approve=approve,
                digest=digest,
                comment=comment,
                channel=channel,
                proposer_active=change.loaded.proposer_active,
                at=at,
            )
            change.facts += recorded.facts
            if recorded.settled:
                _follow(change, recorded.gate)
            return recorded.gate
    except Refusal as error:
        decisions.record_refusal(gate_id=gate_id, by=by, error=error, at=at)
        raise


def expire(*, gate_id: UUID, context_id: UUID, by: Actor, at: datetime) -> bool:
    """Expire a gate; return False if it was decided in the meantime."""
    with locked_change(context_id, by=by, at=at) as change:
        expired = approvals.expire(gate_id=gate_id, at=at)
        if expired is None:
            return False
        change.facts += expired.facts
        _follow(change, expired.gate)
        return True


def _follow(change: RunChange, gate: Gate) -> None:
    """Carry out the consequences of a gate's end, if it is still the current gate."""
    status = GateStatus(gate.status)
    if gate.subject_kind == subjects.RUN:
        run = change.run
        if run.gate_id == gate.id and run.state == RunState.AWAITING_APPROVAL:
            if run.gate_before is not None:
                edits.settle(change, status)
            else:
                carry_out(outcome.of_plan_gate(status, change.loaded.progress), change)
    else:
        step = change.step(gate.subject_id)
        if step.gate_id == gate.id and step.state == StepState.GATED:
            ends.gate(change, step, status, asked_at=gate.requested_at)
    advance(change)
