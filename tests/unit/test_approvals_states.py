"""The table of a gate's states, move by move."""

import itertools

import pytest

from approvals.domain.states import GATE, MEANING, OPEN, SETTLED, GateEvent, GateStatus
from execfabric.lib.machine import IllegalTransition
from tests import machines

R, P, A = GateStatus.REQUESTED, GateStatus.PARTIAL, GateStatus.APPROVED
LEGAL = {
    (R, GateEvent.COUNTED): P,
    (R, GateEvent.APPROVED): A,
    (R, GateEvent.REJECTED): GateStatus.REJECTED,
    (R, GateEvent.EXPIRED): GateStatus.EXPIRED,
    (R, GateEvent.SUPERSEDED): GateStatus.SUPERSEDED,
    (P, GateEvent.COUNTED): P,
    (P, GateEvent.APPROVED): A,
    (P, GateEvent.REJECTED): GateStatus.REJECTED,
    (P, GateEvent.EXPIRED): GateStatus.EXPIRED,
    (P, GateEvent.SUPERSEDED): GateStatus.SUPERSEDED,
    (A, GateEvent.SUPERSEDED): GateStatus.SUPERSEDED,
}


@pytest.mark.parametrize(
    ("status", "event"),
    [
        pytest.param(status, event, id=f"{status} {event}")
        for status, event in itertools.product(GateStatus, GateEvent)
    ],
)
def test_every_pair_of_status_and_event_is_a_row_or_refused(status, event) -> None:
    if (status, event) in LEGAL:
        assert GATE.next(status, event) is LEGAL[status, event]
    else:
        with pytest.raises(IllegalTransition) as refused:
            GATE.next(status, event)
        assert refused.value.details == {
            "machine": "gate",
            "state": str(status),
            "event": str(event),
        }


def test_every_status_is_reachable_and_explained() -> None:
    assert machines.reachable(GATE) == set(GateStatus)
    assert set(MEANING) == set(GateStatus)


def test_open_and_settled_split_the_statuses_and_nothing_leaves_a_final_one() -> None:
    assert set(GateStatus) == OPEN | SETTLED
    assert not OPEN & SETTLED
    assert GATE.final == SETTLED - {A}
    assert not any(source in GATE.final for source, _, _ in GATE.rows)
