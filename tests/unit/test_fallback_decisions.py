"""A step with a fallback counts like a step that succeeds if either of them does."""

from itertools import product

import pytest

from orchestration.runs.domain import decider
from orchestration.runs.domain.decider import EndFallback, FallBack, Release
from orchestration.runs.domain.progress import (
    FALLBACK_FAILED,
    UPSTREAM_FAILED,
    Progress,
    StepStatus,
)
from orchestration.runs.domain.states import (
    FINAL_RUN,
    RUN,
    STEP_RUN,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from tests.unit.test_decider_search import graphs

S, T = StepState, StepEvent
OUTCOMES = ["good", "bad", "bad good", "bad bad"]
"""What a step does, and what its fallback does, if it has one."""


def driven(graph, outcomes, *, parallel_max, on_failure):
    """Return the end of a run in which each step does as `outcomes` says."""
    steps = [
        StepStatus(
            key=index,
            name=str(index),
            state=S.PENDING,
            depends_on=graph.parents[index],
            trigger_rule=graph.rules[index],
            has_fallback=" " in outcome,
        )
        for index, outcome in enumerate(outcomes)
    ]
    progress = Progress(steps, parallel_max=parallel_max, on_failure=on_failure)
    run = RunState.RUNNING
    for _ in range(100):
        actions = decider.next_actions(run, progress)
        for action in actions:
            if isinstance(action, decider.Move):
                run = RUN.next(run, action.event)
            else:
                moved(progress, action, outcomes)
        if run in FINAL_RUN or run is RunState.PAUSED:
            return run, [progress._by_key[key].view.state for key in range(len(steps))]
        if not actions:
            ready = progress.steps(S.READY)
            finish(progress, ready[0].key, outcomes)
    raise AssertionError("the run does not end")


def moved(progress, action, outcomes):
    key = action.key
    if isinstance(action, Release):
        move(progress, key, T.RELEASED)
    elif isinstance(action, FallBack):
        move(progress, key, T.FELL_BACK)
        name = f"{key}.fallback"
        progress.add(StepStatus((key, "fallback"), name, S.PENDING, parent=key))
    elif isinstance(action, EndFallback):
        end = progress.fallback_of(key).state
        is_good = end is S.SUCCEEDED
        move(progress, key, T.SUCCEEDED if is_good else T.FAILED, FALLBACK_FAILED)
    elif isinstance(action, decider.Skip):
        move(progress, key, T.SKIPPED, UPSTREAM_FAILED)
    else:
        move(progress, key, T.CANCELLED)


def finish(progress, key, outcomes):
    index, part = key if isinstance(key, tuple) else (key, "")
    outcome = outcomes[index].split()[1 if part else 0]
    move(progress, key, T.STARTED)
    move(progress, key, T.SUCCEEDED if outcome == "good" else T.FAILED, "lab.failed")


def move(progress, key, event, error=""):
    state = STEP_RUN.next(progress._by_key[key].view.state, event)
    is_bad = state in {S.FAILED, S.SKIPPED}
    progress.moved(key, state, error if is_bad else "")


@pytest.mark.parametrize("on_failure", ["pause", "abort", "continue"])
@pytest.mark.parametrize("parallel_max", [1, 2, 0])
def test_every_small_plan_ends_as_without_fallbacks(on_failure, parallel_max):
    checked = 0
    for graph in graphs(3):
        for outcomes in product(OUTCOMES, repeat=3):
            if not any(" " in one for one in outcomes):
                continue
            plain = [
                "good" if one in {"good", "bad good"} else "bad" for one in outcomes
            ]
            bounds = {"parallel_max": parallel_max, "on_failure": on_failure}
            run, states = driven(graph, outcomes, **bounds)
            expected_run, expected = driven(graph, plain, **bounds)
            assert run is expected_run, (graph, outcomes)
            if on_failure == "continue" or parallel_max == 1:
                # Else it depends on the moment of a failure what has started before.
                assert states == expected, (graph, outcomes)
            checked += 1
    assert checked > 1_000


@pytest.mark.parametrize(
    "error", [FALLBACK_FAILED, "step.condition_failed", "step.content_changed"]
)
def test_some_failures_have_no_fallback(error):
    steps = [StepStatus("a", "a", S.FAILED, has_fallback=True, error=error)]

    [move] = decider.next_actions(RunState.RUNNING, Progress(steps))

    assert move.event is RunEvent.PAUSE_REQUESTED
