"""The only code that writes a gate's status.

Services return what they did as facts; the caller records them in its own change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from approvals import history
from approvals.domain.states import GATE, SETTLED, GateEvent, GateStatus
from approvals.errors import GateUnknown
from approvals.models import Gate
from audit.services import Fact, RowFact
from execfabric.infra import database
from execfabric.lib.machine import StaleTransition

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
    """Apply one row of the table to a locked gate; return the columns it set.

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
    """Build the facts about a gate; each names the gate, the first has the rows."""
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
