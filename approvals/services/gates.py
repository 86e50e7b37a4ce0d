"""Open and end gates, and check at dispatch that an approval holds."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Max

from approvals import history, selectors, voters
from approvals.domain.seats import Requirement
from approvals.domain.states import GateEvent
from approvals.domain.subject import Exclusion, Subject
from approvals.errors import GateDoesNotHold, Unsatisfiable
from approvals.models import Gate
from approvals.services.transitions import GateChange, facts_of, locked, move
from audit.errors import NotInTransaction
from execfabric.lib.clock import stamp

EXPIRED = "Expired: no decision before the deadline."


def open_gate(*, subject: Subject, at: datetime) -> GateChange:
    """Open a gate for a subject, in the caller's transaction.

    It opens even if no one can decide on it, so that a running run waits visibly. The
    event names the groups that lack approvers. A caller that can still refuse (a
    proposal) calls `require_satisfiable` first.

    :raises NotInTransaction: outside a transaction
    """
    if not connection.in_atomic_block:
        raise NotInTransaction
    same = Gate.objects.filter(subject_kind=subject.kind, subject_id=subject.id)
    last = same.aggregate(last=Max("rev"))["last"] or 0
    excluded = {exclusion.key for exclusion in subject.excluded}
    unmet = voters.unmet(subject.requirements, excluded)
    gate = Gate.objects.create(
        subject_kind=subject.kind,
        subject_id=subject.id,
        context_id=subject.context_id,
        stream=subject.stream,
        trace_id=subject.trace_id,
        step=subject.step,
        label=subject.label,
        subject=subject.body,
        digest_domain=subject.digest_domain,
        digest=subject.digest,
        requirements=[requirement.as_fact() for requirement in subject.requirements],
        excluded=[exclusion.as_fact() for exclusion in subject.excluded],
        reasons=list(subject.reasons),
        policy_versions=list(subject.policy_versions),
        risk=subject.risk,
        rev=last + 1,
        requested_at=at,
        expires_at=subject.expires_at,
    )
    asked = {
        "subject": str(gate.subject_id),
        "label": gate.label,
        "digest": gate.digest_hex,
        "rev": gate.rev,
        "requirements": gate.requirements,
        "excluded": gate.excluded,
        "reasons": gate.reasons,
        "policies": gate.policy_versions,
        "risk": gate.risk,
        "expires_at": stamp(gate.expires_at),
        "unmet": [asdict(group) for group in unmet],
    }
    rows = [history.GATE.born(gate)]
    return GateChange(gate, facts_of(gate, ("gate.requested", asked), rows=rows))


def require_satisfiable(
    *, requirements: Sequence[Requirement], excluded: Sequence[Exclusion]
) -> None:
    """Check that the current people could approve a gate.

    :raises Unsatisfiable: with the groups that lack approvers
    """
    unmet = voters.unmet(requirements, {exclusion.key for exclusion in excluded})
    if unmet:
        short = "; ".join(
            f"{group.count} of {group.group} required, {group.have} available"
            for group in unmet
        )
        raise Unsatisfiable(
            f"Not enough people can approve this: {short}.",
            unmet=[asdict(group) for group in unmet],
        )


def supersede(
    *, gate_id: UUID, found_digest: str, reason: str, at: datetime
) -> GateChange:
    """End a gate because its subject has changed.

    :raises IllegalTransition: when it is final already
    """
    gate = locked(gate_id)
    rows = move(gate, GateEvent.SUPERSEDED, at=at, reason=reason)
    digests = {"digest": gate.digest_hex, "found": found_digest, "reason": reason}
    return GateChange(gate, facts_of(gate, ("gate.superseded", digests), rows=rows))


def withdraw(*, gate_id: UUID, reason: str, at: datetime) -> GateChange:
    """End a gate that is no longer needed because its run was cancelled.

    :raises IllegalTransition: when it is final already
    """
    gate = locked(gate_id)
    rows = move(gate, GateEvent.SUPERSEDED, at=at, reason=reason)
    why = {"digest": gate.digest_hex, "reason": reason}
    return GateChange(gate, facts_of(gate, ("gate.withdrawn", why), rows=rows))


def expire(*, gate_id: UUID, at: datetime) -> GateChange | None:
    """End an open gate after its deadline; return None if it is not due.

    It is safe to repeat and to call from several keepers.
    """
    gate = locked(gate_id)
    if not gate.is_open or at < gate.expires_at:
        return None
    rows = move(gate, GateEvent.EXPIRED, at=at, reason=EXPIRED)
    over = {"digest": gate.digest_hex, "expires_at": stamp(gate.expires_at)}
    return GateChange(gate, facts_of(gate, ("gate.expired", over), rows=rows))


def holds(*, gate_id: UUID, digest: bytes, at: datetime) -> None:
    """Check that the approval covers exactly this content, now.

    Runs in the transaction that commits the intent and locks the gate, so nothing
    changes before the commit. The approval is recomputed from the decisions and the
    current groups, because a status alone proves nothing. After the gate's expiry an
    approval no longer counts.

    :raises GateDoesNotHold: `why` names the failed condition
    """
    held = selectors.held(gate_id)
    gate = held.gate
    unproven = held.unproven(digest=digest, at=at)
    if unproven:
        raise GateDoesNotHold(
            f"{GateDoesNotHold.__doc__} {unproven.sentence}",
            gate=str(gate.pk),
            why=str(unproven.flaw),
            status=str(gate.status),
            digest=gate.digest_hex,
            found=unproven.found.hex(),
        )
