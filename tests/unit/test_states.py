"""The two tables are the specification: complete, reachable, and repeated faithfully."""

import re
from itertools import product

import pytest

from execfabric.lib.machine import IllegalTransition, StateMachine
from orchestration.runs.domain.states import (
    ARTIFACT,
    AT_WORK,
    ATTEMPT,
    DELEGATED,
    DRY_RUN,
    HELD,
    RUN,
    STEP_RUN,
    ArtifactState,
    AttemptEvent,
    DryRunState,
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.skills.domain.states import (
    SKILL,
    VERSION,
    SkillState,
    VersionState,
)
from orchestration.trace.domain.states import JOB, JobState
from orchestration.triggers.domain.states import TRIGGER, TriggerState
from tests import machines
from tests.documents import PROJECT, STATES, between_markers, state_table

MACHINES = [
    pytest.param(RUN, RunState, id="run"),
    pytest.param(STEP_RUN, StepState, id="step run"),
    pytest.param(ATTEMPT, Phase, id="attempt"),
    pytest.param(DRY_RUN, DryRunState, id="dry run"),
    pytest.param(ARTIFACT, ArtifactState, id="artifact"),
]
EVERY_MACHINE = [
    *MACHINES,
    pytest.param(JOB, JobState, id="verification"),
    pytest.param(TRIGGER, TriggerState, id="trigger"),
    pytest.param(SKILL, SkillState, id="skill"),
    pytest.param(VERSION, VersionState, id="skill version"),
]
WAYS_BACK = {
    (StepState.FAILED, StepEvent.RETRIED),
    (StepState.SKIPPED, StepEvent.REVIVED),
    (StepState.FAILED, StepEvent.FELL_BACK),
    (StepState.FAILED, StepEvent.SKIPPED_BY_USER),
    (StepState.FAILED, StepEvent.COMPLETED_BY_HAND),
    (StepState.REJECTED, StepEvent.RETRIED),
    (StepState.REJECTED, StepEvent.SKIPPED_BY_USER),
    (StepState.REJECTED, StepEvent.COMPLETED_BY_HAND),
    (StepState.CANCELLED, StepEvent.RETRIED),
    (StepState.SUCCEEDED, StepEvent.COMPENSATED),
    (StepState.SUCCEEDED, StepEvent.COMPENSATION_FAILED),
    (StepState.COMPENSATION_FAILED, StepEvent.COMPENSATED),
    *((state, RunEvent.ROLLBACK_STARTED) for state in RUN.final),
}
"""Moves out of a final state: a failed step is tried again, its fallback runs, or a user
skips or completes it; what has ended is rolled back, and an undo that did not run is tried
again."""


OF_OLDER_RELEASES = {Phase.CLAIMED}
"""States in which nothing is put any more, and out of which there is still a way."""
ENTERED_FROM = [
    # Nothing runs before its plan is approved, and no run succeeds from a pause.
    (RUN, RunState.RUNNING, {"awaiting_approval", "queued", "pausing", "paused"}),
    (RUN, RunState.QUEUED, {"running"}),
    (STEP_RUN, StepState.QUEUED, {"pending"}),
    (RUN, RunState.SUCCEEDED, {"running"}),
    (RUN, RunState.PARTIALLY_SUCCEEDED, {"running"}),
    (RUN, RunState.CANCELLED, {"cancelling"}),
    (RUN, RunState.ABORTING, {"running", "queued", "pausing", "paused"}),
    # Only a ready step is started, perhaps in the change that released it, and only
    # an attempt leaves an unknown outcome.
    (STEP_RUN, StepState.RUNNING, {"ready", "pending"}),
    (
        STEP_RUN,
        StepState.READY,
        {"pending", "gated", "running", "backoff", "indeterminate"},
    ),
    (STEP_RUN, StepState.INDETERMINATE, {"running"}),
    # A choose step succeeds when it is released, a list when its items have finished.
    (
        STEP_RUN,
        StepState.SUCCEEDED,
        {
            "pending",
            "running",
            "gated",
            "waiting",
            "indeterminate",
            "expanded",
            "falling_back",
            "failed",  # completed by hand
            "rejected",  # an undo, completed by hand
        },
    ),
    (STEP_RUN, StepState.WAITING, {"pending"}),
    (STEP_RUN, StepState.EXPANDED, {"pending"}),
    # An item that has not started is skipped after the failure of another one.
    (
        STEP_RUN,
        StepState.SKIPPED,
        {
            "pending",
            "queued",
            "gated",
            "waiting",
            "ready",
            "backoff",
            "failed",
            "rejected",  # an undo, by a user
        },
    ),
    (STEP_RUN, StepState.SKIPPED_BY_CONDITION, {"pending"}),
    (STEP_RUN, StepState.FALLING_BACK, {"failed"}),
    # With its fallback.
    (STEP_RUN, StepState.REJECTED, {"gated", "falling_back"}),
    (ATTEMPT, Phase.DONE, {"intent"}),
    (ATTEMPT, Phase.LOST, {"intent", "claimed"}),
    (DRY_RUN, DryRunState.FINISHED, {"running"}),
]
"""Written down a second time: a row added to a table by mistake is seen."""


@pytest.mark.parametrize(("machine", "state", "sources"), ENTERED_FROM)
def test_a_state_is_entered_only_from_the_states_listed(machine, state, sources):
    assert {str(source) for source, _, to in machine.rows if to == state} == sources


@pytest.mark.parametrize(
    ("machine", "events"),
    [(RUN, RunEvent), (STEP_RUN, StepEvent), (ATTEMPT, AttemptEvent)],
)
def test_a_final_state_refuses_every_event_that_is_no_way_back(machine, events):
    for state, event in product(machine.final, events):
        if (state, event) not in WAYS_BACK:
            with pytest.raises(IllegalTransition):
                machine.next(state, event)


@pytest.mark.parametrize(("machine", "states"), EVERY_MACHINE)
def test_every_state_is_reachable_and_every_event_used(machine, states):
    events = set(type(machine.rows[0][1]))

    assert machines.states(machine) == frozenset(states)
    assert machines.reachable(machine) == frozenset(states) - OF_OLDER_RELEASES
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

    own = type(machine.initial)
    assert out == {way for way in WAYS_BACK if isinstance(way[0], own)}


def test_each_step_state_has_one_role_in_the_course_of_a_run():
    pending = {StepState.PENDING}
    groups = [AT_WORK, HELD, DELEGATED, STEP_RUN.final, pending, {StepState.EXPANDED}]

    assert sum(map(len, groups)) == len(StepState)
    assert frozenset().union(*groups) == frozenset(StepState)


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        pytest.param(RUN, "run", id="run"),
        pytest.param(STEP_RUN, "step", id="step"),
        pytest.param(ATTEMPT, "attempt", id="attempt"),
        pytest.param(DRY_RUN, "dry-run", id="dry run"),
        pytest.param(ARTIFACT, "artifact", id="artifact"),
    ],
)
def test_the_page_about_states_has_the_tables_of_the_code(machine, name):
    assert between_markers(STATES, f"states:{name}") == state_table(machine)


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        pytest.param(RUN, "run", id="run"),
        pytest.param(STEP_RUN, "step", id="step"),
        pytest.param(ATTEMPT, "attempt", id="attempt"),
        pytest.param(DRY_RUN, "dry-run", id="dry run"),
        pytest.param(ARTIFACT, "artifact", id="artifact"),
    ],
)
def test_the_lifecycle_page_has_a_paragraph_per_state(machine: StateMachine, name):
    text = (PROJECT / STATES).read_text(encoding="utf-8")
    part = text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    told = dict(
        re.findall(
            r"^### `(\w+)`\n\n(.+?)(?=\n\n###|\n*\Z)", part, re.DOTALL | re.MULTILINE
        )
    )

    assert set(told) == {str(state) for state in machines.states(machine)}
    for state, paragraph in told.items():
        ways_in = {str(on) for _, on, to in machine.rows if to == state}
        ways_out = {str(on) for source, on, _ in machine.rows if source == state}
        named = set(re.findall(r"`(\w+)`", paragraph))
        assert ways_in | ways_out <= named, state
        assert "crash" in paragraph.lower(), state
