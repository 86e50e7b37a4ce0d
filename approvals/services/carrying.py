"""Carry an approval over to a gate on the same content, in another context.

The new gate gets decisions of its own, of the users who made the first ones, so it is
checked like any other. Its events name the gate and the decisions that they come from.
"""

from dataclasses import replace
from datetime import datetime

from approvals import history
from approvals.domain.states import GateEvent
from approvals.models import Decision, Gate
from approvals.proof import Held
from approvals.services.gates import GateChange, facts_of, move, open_gate
from audit.services import Fact, RowFact

CHANNEL = "carried"
"""The channel of decisions that were carried over."""


def open_with_approval(gate: Gate, source: Held | None, *, at: datetime) -> GateChange:
    """Open a gate, in the caller's transaction, with the decisions of `source` if it holds.

    The caller has compared the content of both. The approval is carried over only if it
    is valid now, for the requirements and the exclusions of the new gate; and only as
    long as the first one is.

    :raises NotInTransaction: outside a transaction
    :raises RequirementInvalid: when it requires no approval
    """
    if source is None or not _holds(gate, source, at):
        return open_gate(gate, at=at)
    gate.expires_at = min(gate.expires_at, source.gate.expires_at)
    opening = open_gate(gate, at=at)
    return GateChange(gate, (*opening.facts, *_carried(gate, source, at)))


def _holds(gate: Gate, source: Held, at: datetime) -> bool:
    """Return True if the decisions of a valid approval would approve another gate."""
    if source.unproven(digest=source.gate.actual_digest(), at=at):
        return False
    return replace(source, gate=gate).event() is GateEvent.APPROVED


def _carried(gate: Gate, source: Held, at: datetime) -> tuple[Fact, ...]:
    excluded = gate.excluded_keys()
    first = [each for each in source.decisions if each.voter_key not in excluded]
    decisions = [
        Decision(
            gate=gate,
            approve=True,
            voter_key=each.voter_key,
            voter_name=each.voter_name,
            groups=each.groups,
            digest=gate.digest,
            comment=f"Carried over from approval {source.gate.pk}.",
            channel=CHANNEL,
            at=at,
        )
        for each in first
    ]
    Decision.objects.bulk_create(decisions)
    names = ", ".join(each.voter_name for each in first)
    rows: list[RowFact] = [history.DECISION.born(each) for each in decisions]
    rows += move(gate, GateEvent.APPROVED, at=at, reason=f"Approved by {names} before.")
    deciders = [{"id": each.voter_key, "name": each.voter_name} for each in first]
    carried: dict[str, object] = {
        "digest": gate.digest_hex,
        "from_gate": str(source.gate.pk),
        "from_run": str(source.gate.context_id),
        "from_digest": source.gate.digest_hex,
        "from_decisions": [str(each.pk) for each in first],
        "deciders": deciders,
    }
    approved: dict[str, object] = {"digest": gate.digest_hex, "deciders": deciders}
    facts = (("gate.carried", carried), ("gate.approved", approved))
    return facts_of(gate, *facts, rows=rows)
