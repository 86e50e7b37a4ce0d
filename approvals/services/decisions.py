"""Record decisions; every page and API call uses this service."""

from dataclasses import dataclass, replace
from datetime import datetime
from string import hexdigits
from uuid import UUID

from django.db import DatabaseError, transaction

from approvals import history, selectors
from approvals.domain import eligibility
from approvals.domain.states import GateEvent, GateStatus
from approvals.errors import (
    AlreadyDecided,
    CommentRequired,
    CommentUnreadable,
    GateAlreadySettled,
    GateExpired,
    GateSuperseded,
    ProposerInactive,
    StaleDigest,
)
from approvals.models import Decision, Gate
from approvals.proof import Held
from approvals.services.gates import GateChange, facts_of, move
from audit import services as audit
from audit.services import Fact
from execfabric.identity.errors import AgentsCannotDecide
from execfabric.infra import throttle
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.refusal import Refusal
from execfabric.lib.text import is_visible

MAX_COMMENT = 10_000
HEX_DIGITS = 64
REFUSALS = throttle.RateLimit("refused-decisions", 10, 24 * 3600)
STRAY = "approvals"
"""The stream for refusals about gates that do not exist."""


@dataclass(frozen=True)
class Recorded(GateChange):
    decision: Decision
    settled: bool
    """True if this decision closed the gate, so that the caller must move the run.
    False for the repeat of a recorded decision."""


def record_decision(
    *,
    gate_id: UUID,
    by: Actor,
    approve: bool,
    digest: str,
    comment: str,
    channel: str,
    proposer_active: bool,
    at: datetime,
) -> Recorded:
    """Record the decision of one person, in the caller's transaction.

    `digest` (64 hex digits) is that of the content the person saw. Repeating the same
    decision, as by a double click, returns the recorded one and changes nothing.
    `proposer_active` is False if no active account is responsible for the proposal.
    A caller that rolls back on a refusal then calls `record_refusal`.

    :raises Denied: for agents, inactive accounts, proposers, editors, owners of agents
        and people outside the groups (in this order)
    :raises AlreadyDecided: if they made another decision before
    :raises Conflict: if the gate is superseded, expired or closed, or the digest
        differs
    :raises ProposerInactive: for an approval if the proposer is deactivated
    :raises Invalid: for a rejection without a comment
    """
    if by.kind is not ActorKind.USER:
        raise AgentsCannotDecide(actor=by.key)
    held = selectors.held(gate_id, voter=by.id)
    gate = held.gate
    standing = held.people.get(by.key)
    refusal = eligibility.may_decide(
        by, standing, requirements=gate.required(), excluded=gate.exclusions()
    )
    if refusal:
        raise refusal
    seen = _digest(digest)
    before = next((one for one in held.decisions if one.voter_key == by.key), None)
    if before:
        if before.approve is approve and bytes(before.digest).hex() == seen:
            return Recorded(gate, (), before, settled=False)
        raise AlreadyDecided(gate=str(gate.pk), approved=before.approve)
    _require_open(gate, at)
    if seen != gate.digest_hex:
        raise StaleDigest(gate=str(gate.pk), digest=gate.digest_hex, seen=seen)
    if approve and not proposer_active:
        raise ProposerInactive(gate=str(gate.pk))
    # The clock of this process may be behind the one that opened the gate.
    at = max(at, gate.requested_at)
    decision = Decision.objects.create(
        gate=gate,
        approve=approve,
        voter_key=by.key,
        voter_name=by.name,
        groups=sorted(standing.groups) if standing else [],
        digest=gate.digest,
        comment=_readable(comment, required=not approve),
        channel=channel,
        at=at,
    )
    return _counted(held, decision, at=at)


def record_refusal(*, gate_id: UUID, by: Actor, error: Refusal, at: datetime) -> None:
    """Record a refused decision, in its own transaction.

    Call it after the refused transaction has rolled back. The first attempts of an
    actor on a gate are all recorded; after that, only when their number has doubled.
    """
    tried = throttle.take(REFUSALS, f"{by.key} {gate_id}")
    if tried.wait and tried.count & (tried.count - 1):
        return
    payload = {
        "attempts": tried.count,
        "gate": str(gate_id),
        "code": error.code,
        "message": error.message,
        "details": error.details,
    }
    try:
        with transaction.atomic(durable=True):
            _append_refusal(gate_id, payload, by=by, at=at)
    except DatabaseError:
        # Not recorded, so not counted: the caller retries after the outage.
        throttle.give_back(tried)
        raise


def _append_refusal(
    gate_id: UUID, payload: dict[str, object], *, by: Actor, at: datetime
) -> None:
    gate = Gate.objects.filter(pk=gate_id).defer("subject").first()
    if gate is None:
        audit.append(STRAY, [Fact("gate.decision_refused", payload)], by=by, at=at)
        return
    facts = facts_of(gate, ("gate.decision_refused", payload))
    audit.append(gate.stream, facts, by=by, at=at, trace_id=gate.trace_id)


def _require_open(gate: Gate, at: datetime) -> None:
    facts = {"gate": str(gate.pk), "status": str(gate.status)}
    if gate.status == GateStatus.SUPERSEDED:
        raise GateSuperseded(**facts)
    if gate.status == GateStatus.EXPIRED or (gate.is_open and at >= gate.expires_at):
        raise GateExpired(**facts)
    if not gate.is_open:
        raise GateAlreadySettled(
            f"This approval is already {gate.status}. Your decision was not recorded.",
            **facts,
        )


def _digest(text: str) -> str:
    """Normalize a digest; return an empty string for any other text."""
    seen = text.strip().lower()
    return seen if len(seen) == HEX_DIGITS and set(seen) <= set(hexdigits) else ""


def _readable(comment: str, *, required: bool) -> str:
    """Return the comment to store; NUL and lone surrogates cannot be stored."""
    text = comment.strip()
    if required and not is_visible(text):
        raise CommentRequired
    broken = any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)
    if broken or len(text) > MAX_COMMENT:
        raise CommentUnreadable(longest=MAX_COMMENT)
    return text


def _counted(held: Held, decision: Decision, *, at: datetime) -> Recorded:
    gate, given = held.gate, [*held.decisions, decision]
    event = replace(held, decisions=given).event()
    answer: dict[str, object] = {
        "voter": {"id": decision.voter_key, "name": decision.voter_name},
        "verdict": "approved" if decision.approve else "rejected",
        "digest": gate.digest_hex,
        "groups": decision.groups,
        "comment": decision.comment,
        "channel": decision.channel,
    }
    facts: list[tuple[str, dict[str, object]]] = [("gate.decided", answer)]
    settled = event in {GateEvent.APPROVED, GateEvent.REJECTED}
    if settled:
        deciders = [{"id": d.voter_key, "name": d.voter_name} for d in given]
        sums: dict[str, object] = {"digest": gate.digest_hex, "deciders": deciders}
        facts.append((f"gate.{event}", sums))
    rows = [history.DECISION.born(decision)]
    if event:
        names = ", ".join(one.voter_name for one in given)
        is_rejected = event is GateEvent.REJECTED
        reason = decision.comment if is_rejected else f"Approved by {names}."
        rows += move(gate, event, at=at, reason=reason)
    return Recorded(gate, facts_of(gate, *facts, rows=rows), decision, settled)
