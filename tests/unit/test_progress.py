"""The progress of a run: updated step by step, it answers like one built afresh."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.runs.domain.decider import next_actions
from orchestration.runs.domain.progress import (
    UNANSWERED,
    UPSTREAM_FAILED,
    Progress,
    StepStatus,
)
from orchestration.runs.domain.states import RunState, StepState

S = StepState
RULES = ("all_success", "one_success", "all_done", "at_least")
ERRORS = {
    S.REJECTED: ("gate.rejected", UNANSWERED),
    S.SKIPPED: (UPSTREAM_FAILED, "step.skipped", "step.left_out"),
    S.FAILED: ("skill.failed",),
}


CHOICES = st.frozensets(st.integers(0, 7).map("step {}".format), max_size=4)


@st.composite
def views(draw: st.DrawFn) -> list[StepStatus]:
    """Draw steps in any states, each after earlier steps."""
    keys = [object() for _ in range(draw(st.integers(1, 8)))]
    found = []
    for index, key in enumerate(keys):
        parents = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else ()
        state, error = draw(moves())
        others = [one for one in range(index) if one not in parents]
        router = keys[draw(st.sampled_from(others))] if others else None
        found.append(
            StepStatus(
                key,
                f"step {index}",
                state,
                tuple(keys[one] for one in parents),
                draw(st.sampled_from(RULES)),
                error,
                at_least=draw(st.integers(1, 3)),
                router=router if draw(st.booleans()) else None,
                chosen=draw(CHOICES),
            )
        )
    return found


@st.composite
def moves(draw: st.DrawFn) -> tuple[StepState, str]:
    """Any state, with an error that a step in it may have."""
    state = draw(st.sampled_from(list(S)))
    return state, draw(st.sampled_from(ERRORS.get(state, ("",))))


def answers_of(progress: Progress) -> list[object]:
    """Everything that a progress can be asked."""
    steps = progress.steps(*S)
    return [
        steps,
        [next_actions(state, progress) for state in RunState],
        [progress.first(state) for state in S],
        progress.unfinished,
        progress.may_start(),
        progress.startable(limit=3),
        progress.skipped_by_failure(),
    ]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    steps=views(),
    parallel_max=st.sampled_from([0, 1, 2]),
    on_failure=st.sampled_from(["pause", "abort", "continue"]),
    data=st.data(),
)
def test_any_moves_lead_to_what_a_fresh_one_says(steps, parallel_max, on_failure, data):
    rules = {"parallel_max": parallel_max, "on_failure": on_failure}
    there = data.draw(st.integers(0, len(steps)))
    progress = Progress(steps[:there], **rules)
    for _ in range(data.draw(st.integers(0, 12))):
        if there < len(steps) and data.draw(st.booleans()):
            progress.add(steps[there])
            there += 1
        elif there:
            index = data.draw(st.integers(0, there - 1))
            state, error = data.draw(moves())
            chosen = data.draw(CHOICES)
            steps[index] = steps[index]._replace(
                state=state, error=error, chosen=chosen
            )
            progress.moved(steps[index].key, state, error, chosen)

        fresh = Progress(steps[:there], **rules)

        assert answers_of(progress) == answers_of(fresh)


@pytest.mark.parametrize(
    ("parallel_max", "states", "startable"),
    [
        pytest.param(1, [S.READY, S.PENDING], [0], id="in order"),
        pytest.param(1, [S.RUNNING, S.READY], [], id="in order, one is running"),
        pytest.param(2, [S.READY] * 3, [0, 1], id="approved past the bound"),
        pytest.param(2, [S.RUNNING, S.READY, S.READY], [1], id="one slot is left"),
        pytest.param(2, [S.RUNNING, S.BACKOFF, S.READY], [2], id="a wait needs none"),
        pytest.param(2, [S.RUNNING, S.RUNNING, S.READY], [], id="no slot is left"),
        pytest.param(0, [S.RUNNING, S.READY, S.READY], [1, 2], id="no bound"),
    ],
)
def test_no_more_steps_may_start_than_the_plan_allows(parallel_max, states, startable):
    steps = [StepStatus(index, str(index), one) for index, one in enumerate(states)]
    progress = Progress(steps, parallel_max=parallel_max)

    assert progress.startable(limit=9) == startable
    assert progress.startable(limit=1) == startable[:1]
    assert progress.may_start() == bool(startable or S.READY not in states)


def test_only_a_skip_because_of_a_failure_counts_as_one():
    steps = [
        StepStatus("failed", "", S.FAILED),
        StepStatus("dependent", "", S.SKIPPED, ("failed",), error=UPSTREAM_FAILED),
        StepStatus("of an older release", "", S.SKIPPED, error="step.skipped"),
        StepStatus("left out by the plan", "", S.SKIPPED, error="step.left_out"),
    ]

    found = Progress(steps).skipped_by_failure()

    assert [step.key for step in found] == ["dependent", "of an older release"]
