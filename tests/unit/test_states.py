"""The two tables are the specification: complete, reachable, and repeated faithfully."""

import re
from itertools import product

import pytest

from execfabric.lib.machine import IllegalTransition, Machine
from orchestration.runs.domain.states import (
    AT_WORK,
    DRY_RUN,
    HELD,
    RUN,
    STEP_RUN,
    DryRunState,
    RunState,
    StepEvent,
    StepState,
)
from tests.docs import PROJECT, between_markers, state_table

MACHINES = [
    pytest.param(RUN, RunState, id="run"),
    pytest.param(STEP_RUN, StepState, id="step run"),
    pytest.param(DRY_RUN, DryRunState, id="dry run"),
]
WAYS_BACK = {(StepState.FAILED, StepEvent.RETRIED)}
"""Moves out of a final state: only a person's word to try a failed step again."""


@pytest.mark.parametrize(("machine", "states"), MACHINES)
def test_every_state_and_event_is_a_row_or_refused(machine, states):
    events = type(machine.rows[0][1])
    rows = {(source, event): target for source, event, target in machine.rows}

    for state, event in product(states, events):
        if (state, event) in rows:
            assert machine.next(state, event) is rows[state, event]
        else:
            with pytest.raises(IllegalTransition):
                machine.next(state, event)


@pytest.mark.parametrize(("machine", "states"), MACHINES)
def test_every_state_is_reachable_and_every_event_used(machine, states):
    events = set(type(machine.rows[0][1]))

    assert machine.reachable() == machine.states() == frozenset(states)
    assert {event for _, event, _ in machine.rows} == events


@pytest.mark.parametrize(("machine", "states"), MACHINES)
def test_from_every_state_that_is_not_final_the_end_can_be_reached(machine, states):
    for state in states:
        seen, fresh = set(), {state}
        while fresh:
            seen |= fresh
            fresh = {b for a, _, b in machine.rows if a in fresh} - seen
        assert seen & machine.final, state


@pytest.mark.parametrize(("machine", "states"), MACHINES)
def test_a_final_state_has_no_way_out_but_the_documented_one(machine, states):
    out = {(a, event) for a, event, _ in machine.rows if a in machine.final}

    assert out == (WAYS_BACK if machine is STEP_RUN else set())


def test_each_step_state_has_one_role_in_the_course_of_a_run():
    groups = [AT_WORK, HELD, STEP_RUN.final, frozenset({StepState.PENDING})]

    assert sum(map(len, groups)) == len(StepState)
    assert frozenset().union(*groups) == frozenset(StepState)


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        pytest.param(RUN, "run", id="run"),
        pytest.param(STEP_RUN, "step", id="step"),
        pytest.param(DRY_RUN, "dry-run", id="dry run"),
    ],
)
def test_the_readme_shows_the_tables_of_the_code(machine, name):
    assert between_markers("README.md", f"states:{name}") == state_table(machine)


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        pytest.param(RUN, "run", id="run"),
        pytest.param(STEP_RUN, "step", id="step"),
        pytest.param(DRY_RUN, "dry-run", id="dry run"),
    ],
)
def test_the_lifecycle_page_has_a_paragraph_per_state(machine: Machine, name):
    text = (PROJECT / "docs/lifecycle.md").read_text(encoding="utf-8")
    part = text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    told = dict(
        re.findall(
            r"^### `(\w+)`\n\n(.+?)(?=\n\n###|\n*\Z)", part, re.DOTALL | re.MULTILINE
        )
    )

    assert set(told) == {str(state) for state in machine.states()}
    for state, paragraph in told.items():
        ways_in = {str(on) for _, on, to in machine.rows if to == state}
        ways_out = {str(on) for source, on, _ in machine.rows if source == state}
        named = set(re.findall(r"`(\w+)`", paragraph))
        assert ways_in | ways_out <= named, state
        assert "crash" in paragraph.lower(), state
