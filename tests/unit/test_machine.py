"""A state machine as data refuses what its table does not have."""

from enum import StrEnum

import pytest

from execfabric.lib.machine import IllegalTransition, StateMachine
from tests import machines


class Light(StrEnum):
    RED = "red"
    GREEN = "green"
    BROKEN = "broken"


class Signal(StrEnum):
    SWITCHED = "switched"
    HIT = "hit"


def a_machine(*more: tuple[Light, Signal, Light]) -> StateMachine[Light, Signal]:
    return StateMachine(
        name="light",
        initial=Light.RED,
        rows=((Light.RED, Signal.SWITCHED, Light.GREEN), *more),
        final=frozenset({Light.BROKEN}),
    )


def test_a_move_leads_where_its_row_says():
    assert a_machine().next(Light.RED, Signal.SWITCHED) is Light.GREEN
    assert a_machine().allows(Light.RED, Signal.SWITCHED)


def test_a_move_without_a_row_is_refused_and_named():
    machine = a_machine()

    with pytest.raises(IllegalTransition) as refused:
        machine.next(Light.GREEN, Signal.HIT)

    assert not machine.allows(Light.GREEN, Signal.HIT)
    assert str(refused.value) == "A light that is green cannot be hit."
    assert refused.value.code == "state.illegal_transition"
    assert refused.value.details == {
        "machine": "light",
        "state": "green",
        "event": "hit",
    }


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(Light.GREEN, id="that says the same"),
        pytest.param(Light.BROKEN, id="that says something else"),
    ],
)
def test_a_second_row_for_one_state_and_event_is_refused(target):
    with pytest.raises(ValueError, match="Duplicate rows for red on switched in light"):
        a_machine((Light.RED, Signal.SWITCHED, target))


def test_reachable_are_only_the_states_that_events_lead_to():
    stranded = a_machine((Light.BROKEN, Signal.HIT, Light.BROKEN))
    linked = a_machine((Light.GREEN, Signal.HIT, Light.BROKEN))

    assert machines.states(stranded) == {Light.RED, Light.GREEN, Light.BROKEN}
    assert machines.reachable(stranded) == {Light.RED, Light.GREEN}
    assert machines.reachable(linked) == machines.states(linked)
