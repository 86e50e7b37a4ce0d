"""The one decision service: every page, route, command and link ends here."""

from dataclasses import dataclass
from datetime import datetime
from string import hexdigits
from uuid import UUID

from django.db import DatabaseError, transaction

from approvals import history, selectors, voters
from approvals.domain import eligibility, verdict
from approvals.domain.states import GateEvent, GateStatus
from approvals.domain.verdict import Verdict
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
from approvals.selectors import Held
from approvals.services.transitions import GateChange, facts_of, move
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

EVENTS = {
    Verdict.PARTIAL: GateEvent.COUNTED,
    Verdict.APPROVED: GateEvent.APPROVED,
    Verdict.REJECTED: GateEvent.REJECTED,
}


@dataclass(frozen=True)
class Recorded(GateChange):
    """What became of a decision."""

    decision: Decision
    settled: bool
    """Whether this decision settled the gate: the caller then moves what waited.
    False for the repeat of a decision that was recorded before."""


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
    """Record one person's answer, in the caller's transaction.

    `digest` (64 hex digits) is that of what the person saw. The same answer again,
    as by a double click or after a lost answer, returns the recorded one and changes
    nothing. `proposer_active` says whether an active account answers for the proposal.
    The caller that rolls back on a refusal then calls `record_refusal`.

    :raises Denied: for who they are: agents, inactive accounts, proposers, editors,
        owners of agents, people outside the groups (in this order)
    :raises AlreadyDecided: when they answered otherwise before
    :raises Conflict: when the gate is superseded, expired or settled, or the digest
        is not the gate's
    :raises ProposerInactive: for an approval when the proposer is deactivated
    :raises Invalid: for a rejection without a comment
    """
    if by.kind is not ActorKind.USER:
        raise AgentsCannotDecide(actor=by.key)
    held = selectors.held(gate_id, voter=by.id)
    gate = held.gate
    voter = voters.voter_among(held.people, by)
    refusal = eligibility.may_decide(
        voter, requirements=gate.required(), excluded=gate.exclusions()
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
        groups=sorted(voter.groups),
        digest=gate.digest,
        comment=_readable(comment, required=not approve),
        channel=channel,
        at=at,
    )
    return _counted(held, decision, at=at)


def record_refusal(*, gate_id: UUID, by: Actor, error: Refusal, at: datetime) -> None:
    """Put a refused decision into the record, in a transaction of its own.

    Called after the refused transaction has rolled back: the attempt is a fact even
    though the decision is none. The first few of one actor at one gate are recorded one
    by one, then only each that doubles their number, with that number.
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
        # Not recorded, so not counted: the caller hears of the outage and tries again.
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
    """What the voter saw; anything that is no digest equals none and is not recorded."""
    seen = text.strip().lower()
    return seen if len(seen) == HEX_DIGITS and set(seen) <= set(hexdigits) else ""


def _readable(comment: str, *, required: bool) -> str:
    """The comment as it is stored; NUL and lone surrogates have no place in UTF-8 text."""
    text = comment.strip()
    if required and not is_visible(text):
        raise CommentRequired
    broken = any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)
    if broken or len(text) > MAX_COMMENT:
        raise CommentUnreadable(longest=MAX_COMMENT)
    return text


def _counted(held: Held, decision: Decision, *, at: datetime) -> Recorded:
    """Move the gate by what its decisions and this one add up to now."""
    gate, given = held.gate, [*held.decisions, decision]
    result = verdict.of(
        [voters.ballot(one, held.people) for one in given],
        requirements=gate.required(),
        excluded=gate.excluded_keys(),
    )
    answer: dict[str, object] = {
        "voter": {"id": decision.voter_key, "name": decision.voter_name},
        "verdict": "approved" if decision.approve else "rejected",
        "digest": gate.digest_hex,
        "groups": decision.groups,
        "comment": decision.comment,
        "channel": decision.channel,
    }
    facts: list[tuple[str, dict[str, object]]] = [("gate.decided", answer)]
    settled = result in {Verdict.APPROVED, Verdict.REJECTED}
    if settled:
        deciders = [{"id": d.voter_key, "name": d.voter_name} for d in given]
        sums: dict[str, object] = {"digest": gate.digest_hex, "deciders": deciders}
        facts.append((f"gate.{result}", sums))
    rows = [history.DECISION.born(decision)]
    if event := EVENTS.get(result):
        names = ", ".join(one.voter_name for one in given)
        reason = (
            decision.comment if result is Verdict.REJECTED else f"Approved by {names}."
        )
        rows += move(gate, event, at=at, reason=reason)
    return Recorded(gate, facts_of(gate, *facts, rows=rows), decision, settled)
