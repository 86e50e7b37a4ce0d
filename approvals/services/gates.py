"""Open and end gates, change their status, and check their approvals.

Only this module writes a gate's status. Services return their changes as facts; the
caller records them in its own change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Max

from approvals import history, selectors, voters
from approvals.domain.eligibility import Exclusion
from approvals.domain.seats import Requirement
from approvals.domain.states import GATE, SETTLED, GateEvent, GateStatus
from approvals.errors import (
    GateDoesNotHold,
    GateUnknown,
    RequirementInvalid,
    Unsatisfiable,
)
from approvals.models import Gate
from audit.errors import NotInTransaction
from audit.services import Fact, RowFact
from execfabric.infra import database
from execfabric.lib.clock import elapsed_ms, stamp
from execfabric.lib.machine import StaleTransition

EXPIRED = "Expired: not enough approvals before the deadline."
# Part of a click, as are the reads of `selectors.held`: without the ORM, in half its time.
_MOVE = (
    "UPDATE approvals_gate SET status = %s, settled_at = %s, settled_reason = %s"
    " WHERE id = %s AND status = %s RETURNING id"
)


@dataclass(frozen=True)
class GateChange:
    """A gate after a change, and the facts for its caller to record, in order."""

    gate: Gate
    facts: tuple[Fact, ...]


def open_gate(gate: Gate, *, at: datetime) -> GateChange:
    """Store a new gate, in the caller's transaction.

    It opens even if no one can decide on it, so that a running run waits visibly. The
    event names the groups that lack approvers. A caller that can still refuse (a
    proposal) calls `require_satisfiable` first.

    :raises NotInTransaction: outside a transaction
    :raises RequirementInvalid: when it requires no approval
    """
    if not connection.in_atomic_block:
        raise NotInTransaction
    if not gate.requirements:
        raise RequirementInvalid
    same = Gate.objects.filter(
        subject_kind=gate.subject_kind, subject_id=gate.subject_id
    )
    gate.rev = (same.aggregate(last=Max("rev"))["last"] or 0) + 1
    gate.digest = gate.actual_digest()
    gate.requested_at = at
    gate.save(force_insert=True)
    unmet = voters.unmet(gate.required(), gate.excluded_keys())
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
    """Check that enough active users could approve a gate.

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
    over = {
        "digest": gate.digest_hex,
        "expires_at": stamp(gate.expires_at),
        "elapsed_ms": elapsed_ms(gate.requested_at, at),
    }
    return GateChange(gate, facts_of(gate, ("gate.expired", over), rows=rows))


def holds(*, gate_id: UUID, digest: bytes, at: datetime) -> None:
    """Check that the approval covers exactly this content and is still valid.

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


def locked(gate_id: UUID) -> Gate:
    """Lock a gate until the caller's transaction ends.

    :raises GateUnknown: when there is none
    """
    gate = Gate.objects.select_for_update().filter(pk=gate_id).first()
    if gate is None:
        raise GateUnknown(gate=str(gate_id))
    return gate


def move(
    gate: Gate, event: GateEvent, *, at: datetime, reason: str = ""
) -> tuple[RowFact]:
    """Apply a row of the state table to a locked gate; return the set columns.

    :raises IllegalTransition: when the table has no such row
    :raises StaleTransition: when the status is not what the caller read
    """
    source = GateStatus(gate.status)
    target = GATE.next(source, event)
    settled = target in SETTLED
    changed = {
        "status": target,
        "settled_at": at if settled else None,
        "settled_reason": reason if settled else "",
    }
    values = [*changed.values(), gate.pk, source]
    if database.row(_MOVE, values) is None:
        raise StaleTransition(gate=str(gate.pk), expected=str(source))
    for name, value in changed.items():
        setattr(gate, name, value)
    return (history.GATE.changed(gate, changed),)


def facts_of(
    gate: Gate,
    *facts: tuple[str, Mapping[str, object]],
    rows: Iterable[RowFact] = (),
) -> tuple[Fact, ...]:
    """Build the facts about a gate; only the first one lists changed rows."""
    task = gate.step or gate.subject_kind
    written = tuple(rows)
    return tuple(
        Fact(
            kind,
            {"gate": str(gate.pk), "kind": gate.subject_kind, **payload},
            step=gate.step,
            component=f"gate:{task}",
            rows=written if place == 0 else (),
        )
        for place, (kind, payload) in enumerate(facts)
    )
