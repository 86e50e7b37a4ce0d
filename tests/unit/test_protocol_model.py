"""The model of the protocol: it holds in every state, and each guard is needed for that."""

import pytest

from tests.documents import between_markers
from tests.protocol_cases import PAGE, SCENARIOS, WITHOUT, table, without
from tests.protocol_model import ALL, FINAL, Left
from tests.protocol_moves import Protocol
from tests.protocol_search import search


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_reachable_state_is_sound_and_leads_to_an_end_or_a_person(name):
    found = search(Protocol(SCENARIOS[name]))

    assert not found.broken, str(found)
    assert found.states > 300


@pytest.mark.parametrize("guard", sorted(ALL))
def test_without_a_guard_an_invariant_breaks(guard):
    found = search(without(guard))

    assert found.broken == WITHOUT[guard][1], str(found)


def test_a_trace_shows_how_an_invariant_breaks():
    found = search(without("claim_compares_content"))

    assert found.trace == (
        "the run starts",
        "fault: the content is edited",
        "approver: opens the approval",
        "approver: approves",
        "worker: reads step 0",
        "worker: commits its intent",
    )


def test_the_search_reaches_every_end():
    assert search(Protocol(SCENARIOS["undone"])).ends == FINAL


def test_every_kind_of_fault_and_act_is_part_of_a_scenario():
    used = [scenario.left for scenario in SCENARIOS.values()]

    for kind in Left._fields:
        assert any(getattr(left, kind) for left in used), kind


def test_the_page_lists_the_guards():
    assert between_markers(PAGE, "model") == table()
