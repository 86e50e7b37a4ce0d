"""The only code that writes a gate's status. Lock order: the gate, then its stream."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from approvals.domain.states import GATE, SETTLED, GateEvent, GateStatus
from approvals.errors import GateUnknown
from approvals.models import Gate
from audit import services as audit
from audit.services import Fact
from execfabric.lib.actor import Actor
from execfabric.lib.machine import StaleTransition


def locked(gate_id: UUID) -> Gate:
    """A gate whose row is held until the caller's transaction ends.

    :raises GateUnknown: when there is none
    """
    gate = Gate.objects.select_for_update().filter(pk=gate_id).first()
    if gate is None:
        raise GateUnknown(gate=str(gate_id))
    return gate


def move(gate: Gate, event: GateEvent, *, at: datetime, reason: str = "") -> None:
    """Apply one row of the table to a locked gate.

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
    if not Gate.objects.filter(pk=gate.pk, status=source).update(**changed):
        raise StaleTransition(gate=str(gate.pk), expected=str(source))
    for name, value in changed.items():
        setattr(gate, name, value)


def record(
    gate: Gate, *facts: tuple[str, Mapping[str, object]], by: Actor, at: datetime
) -> None:
    """Append facts about a gate to its stream; each names the gate."""
    audit.append(
        gate.stream,
        [
            Fact(
                kind,
                {"gate": str(gate.pk), "kind": gate.subject_kind, **payload},
                step=gate.step,
            )
            for kind, payload in facts
        ],
        by=by,
        at=at,
        trace_id=gate.trace_id,
    )
