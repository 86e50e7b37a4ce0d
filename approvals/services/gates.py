"""Opening and ending gates, and asking at dispatch whether an approval holds."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from approvals import history, selectors
from approvals.domain.seats import Requirement
from approvals.domain.states import GateEvent
from approvals.domain.subject import Exclusion, Subject
from approvals.errors import GateDoesNotHold, Unsatisfiable
from approvals.models import Gate
from approvals.services.transitions import locked, move, record
from execfabric.lib.actor import Actor, system
from execfabric.lib.clock import stamp


def open_gate(*, subject: Subject, by: Actor, at: datetime) -> Gate:
    """Ask people about a subject, in the caller's transaction.

    It opens even when nobody could answer it now: a run that is under way must wait
    where people see it. The event names the groups that cannot be met. Whoever can
    still refuse (a proposal) calls `require_satisfiable` first.
    """
    same = Gate.objects.filter(subject_kind=subject.kind, subject_id=subject.id)
    last = same.aggregate(last=Max("rev"))["last"] or 0
    excluded = {exclusion.key for exclusion in subject.excluded}
    unmet = selectors.unmet(subject.requirements, excluded)
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
    record(gate, ("gate.requested", asked), by=by, at=at, rows=rows)
    return gate


def require_satisfiable(
    *, requirements: Sequence[Requirement], excluded: Sequence[Exclusion]
) -> None:
    """Refuse a gate that the people there are now could never approve.

    :raises Unsatisfiable: with the groups that are short, and by how many
    """
    unmet = selectors.unmet(requirements, {exclusion.key for exclusion in excluded})
    if unmet:
        short = "; ".join(
            f"{u.group} needs {u.count} and has {u.have} who may decide" for u in unmet
        )
        raise Unsatisfiable(
            f"Nobody could give the approvals that this needs: {short}.",
            unmet=[asdict(group) for group in unmet],
        )


@transaction.atomic
def supersede(
    *, gate_id: UUID, found_digest: str, reason: str, by: Actor, at: datetime
) -> Gate:
    """End a gate because its subject is no longer what people saw.

    :raises IllegalTransition: when it is final already
    """
    gate = locked(gate_id)
    rows = move(gate, GateEvent.SUPERSEDED, at=at, reason=reason)
    digests = {"digest": gate.digest_hex, "found": found_digest, "reason": reason}
    record(gate, ("gate.superseded", digests), by=by, at=at, rows=rows)
    return gate


@transaction.atomic
def withdraw(*, gate_id: UUID, reason: str, by: Actor, at: datetime) -> Gate:
    """End a gate because nobody needs the answer any more (its run was cancelled).

    :raises IllegalTransition: when it is final already
    """
    gate = locked(gate_id)
    rows = move(gate, GateEvent.SUPERSEDED, at=at, reason=reason)
    why = {"digest": gate.digest_hex, "reason": reason}
    record(gate, ("gate.withdrawn", why), by=by, at=at, rows=rows)
    return gate


@transaction.atomic
def expire(*, gate_id: UUID, at: datetime) -> Gate | None:
    """End an open gate whose time is over; None when there was nothing to end.

    Any number of keepers may ask, at any time and again.
    """
    gate = locked(gate_id)
    if not gate.is_open or at < gate.expires_at:
        return None
    rows = move(gate, GateEvent.EXPIRED, at=at, reason="Nobody settled it in time.")
    over = {"digest": gate.digest_hex, "expires_at": stamp(gate.expires_at)}
    record(gate, ("gate.expired", over), by=system("keeper"), at=at, rows=rows)
    return gate


def holds(*, gate_id: UUID, digest: bytes, at: datetime) -> None:
    """Refuse unless this approval covers exactly these bytes, now.

    Asked in the transaction that commits the intent; the gate's row stays locked, so
    nothing about the answer changes before the commit. Approval is recomputed from
    the decisions and today's groups: the status alone is not believed. An approval
    that is older than the gate's expiry does not hold, although its status stays.

    :raises GateDoesNotHold: `why` says which of the conditions failed
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
