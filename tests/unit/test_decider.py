"""The decider: what is due next, by example."""

from collections.abc import Sequence

import pytest

from orchestration.runs.domain.decider import (
    Action,
    Cancel,
    LeaveOut,
    Move,
    Release,
    Reopen,
    Revive,
    Skip,
    TryAgain,
    next_actions,
)
from orchestration.runs.domain.members import Group
from orchestration.runs.domain.progress import (
    UNANSWERED,
    Progress,
    StepStatus,
)
from orchestration.runs.domain.states import (
    RunEvent,
    RunState,
    StepState,
)
from tests.run_model import (
    error_of,
)

R, S = RunState, StepState
RULES = ("all_success", "one_success", "all_done")
FAILURES = ("pause", "abort", "continue")
LEFT = S.SKIPPED_BY_CONDITION


def view(key: str, state: StepState, *after: str, **fields: object) -> StepStatus:
    return StepStatus(key, key.upper(), state, depends_on=after, **fields)


def actions_of(
    run: RunState, steps: list[StepStatus], **rules: object
) -> Sequence[Action]:
    return next_actions(run, Progress(steps, **rules))


def kinds(actions: Sequence[Action]) -> list[Action]:
    """Return the actions without their sentences."""
    plain = {
        Move: lambda a: Move(a.event),
        Skip: lambda a: Skip(a.key, ""),
    }
    return [plain.get(type(a), lambda a: a)(a) for a in actions]


CHAIN = [
    pytest.param([S.PENDING, S.PENDING], [Release("a")], id="the first step starts"),
    pytest.param([S.READY, S.PENDING], [], id="nothing while it waits for a worker"),
    pytest.param([S.GATED, S.PENDING], [], id="nothing while it waits for people"),
    pytest.param([S.RUNNING, S.PENDING], [], id="nothing while it is running"),
    pytest.param([S.SUCCEEDED, S.PENDING], [Release("b")], id="then the next"),
    pytest.param([S.SKIPPED, S.PENDING], [Skip("b", "")], id="a skip goes on"),
    pytest.param(
        [S.SUCCEEDED, S.SUCCEEDED], [Move(RunEvent.SUCCEEDED)], id="all are done"
    ),
    pytest.param(
        [S.SUCCEEDED, S.FAILED], [Move(RunEvent.PAUSE_REQUESTED)], id="a failure asks"
    ),
    pytest.param(
        [S.INDETERMINATE, S.PENDING],
        [Move(RunEvent.PAUSE_REQUESTED)],
        id="an unknown outcome asks",
    ),
    pytest.param([S.REJECTED, S.PENDING], [Cancel("b")], id="a no cancels the rest"),
    pytest.param(
        [S.REJECTED, S.CANCELLED], [Move(RunEvent.REJECTED)], id="a no ends the run"
    ),
]


@pytest.mark.parametrize(("states", "expected"), CHAIN)
def test_what_is_due_in_a_chain_of_two(states, expected):
    steps = [view("a", states[0]), view("b", states[1], "a")]

    assert kinds(actions_of(R.RUNNING, steps)) == expected


@pytest.mark.parametrize(
    ("rule_name", "parents", "expected"),
    [
        ("all_success", (S.SUCCEEDED, S.SUCCEEDED), [Release("c")]),
        ("all_success", (S.SUCCEEDED, S.RUNNING), []),
        ("all_success", (S.FAILED, S.RUNNING), [Skip("c", "")]),
        ("all_success", (S.SUCCEEDED, S.SKIPPED), [Skip("c", "")]),
        ("one_success", (S.SUCCEEDED, S.RUNNING), [Release("c")]),
        ("one_success", (S.FAILED, S.RUNNING), []),
        ("one_success", (S.FAILED, S.SKIPPED), [Skip("c", "")]),
        ("all_done", (S.FAILED, S.SKIPPED), [Release("c")]),
        ("all_done", (S.SUCCEEDED, S.RUNNING), []),
        ("all_success", (S.SUCCEEDED, LEFT), [Release("c")]),
        ("all_success", (LEFT, LEFT), [LeaveOut("c")]),
        ("all_success", (LEFT, S.RUNNING), []),
        ("all_success", (LEFT, S.FAILED), [Skip("c", "")]),
        ("one_success", (LEFT, S.RUNNING), []),
        ("one_success", (LEFT, LEFT), [LeaveOut("c")]),
        ("one_success", (LEFT, S.FAILED), [Skip("c", "")]),
        ("all_done", (LEFT, LEFT), [Release("c")]),
        ("at_least:1", (S.SUCCEEDED, S.RUNNING), [Release("c")]),
        ("at_least:2", (S.SUCCEEDED, S.RUNNING), []),
        ("at_least:2", (S.SUCCEEDED, S.SUCCEEDED), [Release("c")]),
        ("at_least:2", (S.FAILED, S.RUNNING), [Skip("c", "")]),
        ("at_least:2", (LEFT, S.RUNNING), []),
        ("at_least:2", (LEFT, S.SUCCEEDED), [LeaveOut("c")]),
        ("at_least:1", (LEFT, S.FAILED), [Skip("c", "")]),
    ],
)
def test_a_rule_holds_never_will_or_may_yet(rule_name, parents, expected):
    name, _, count = rule_name.partition(":")
    steps = [
        view("a", parents[0]),
        view("b", parents[1]),
        view("c", S.PENDING, "a", "b", trigger_rule=name, at_least=int(count or 0)),
    ]

    found = actions_of(R.RUNNING, steps, parallel_max=0, on_failure="continue")

    assert kinds(found) == expected


@pytest.mark.parametrize(
    ("router", "parent", "expected"),
    [
        pytest.param(S.PENDING, S.SUCCEEDED, [], id="not yet"),
        pytest.param(S.PENDING, S.FAILED, [], id="the choice comes first"),
        pytest.param(S.SUCCEEDED, S.SUCCEEDED, [Release("c")], id="chosen"),
        pytest.param(S.SUCCEEDED, S.RUNNING, [], id="chosen, but it waits"),
        pytest.param(S.SUCCEEDED, LEFT, [LeaveOut("c")], id="chosen for nothing"),
        pytest.param(LEFT, S.SUCCEEDED, [LeaveOut("c")], id="no choice is made"),
        pytest.param(S.FAILED, S.SUCCEEDED, [Skip("c", "")], id="the choice failed"),
        pytest.param(S.SKIPPED, S.SUCCEEDED, [Skip("c", "")], id="it was not reached"),
    ],
)
def test_a_step_starts_only_if_it_is_chosen(router, parent, expected):
    held = view("held", S.GATED)  # so that only these steps are looked at
    steps = [
        held,
        view("r", router, *(["held"] if router is S.PENDING else []), chosen={"C"}),
        view("a", parent),
        view("c", S.PENDING, "a", router="r"),
        view("d", LEFT, "a", router="r"),
    ]

    found = actions_of(R.RUNNING, steps, parallel_max=0, on_failure="continue")

    assert kinds(found) == expected


@pytest.mark.parametrize("parent", [S.SUCCEEDED, S.RUNNING, S.FAILED, S.PENDING])
def test_a_step_that_is_not_chosen_waits_for_nothing_else(parent):
    steps = [
        view("held", S.GATED),
        view("r", S.SUCCEEDED, chosen={"X"}),
        view("a", parent, "held"),
        view("c", S.PENDING, "a", router="r", trigger_rule="all_done"),
    ]

    found = actions_of(R.RUNNING, steps, parallel_max=0, on_failure="continue")

    left = [LeaveOut("c")]
    assert [action for action in found if action.key == "c"] == left


def test_a_rule_that_cannot_be_met_any_more_skips_the_step_at_once():
    steps = [
        view("a", LEFT),
        view("b", S.FAILED),
        view("c", S.RUNNING),
        view("d", S.PENDING, "a", "b", "c", trigger_rule="at_least", at_least=2),
    ]

    found = actions_of(R.RUNNING, steps, parallel_max=0, on_failure="continue")

    assert kinds(found) == [Skip("d", "")]


def test_no_step_starts_before_one_that_follows_a_skipped_step():
    steps = [
        view("a", LEFT),
        view("b", S.PENDING, "a"),
        view("c", S.PENDING, "b", trigger_rule="all_done"),
        view("d", S.PENDING),
    ]

    first = actions_of(R.RUNNING, steps)
    steps[1] = steps[1]._replace(state=LEFT)

    assert first == [LeaveOut("b")]
    assert actions_of(R.RUNNING, steps) == [Release("c")]


@pytest.mark.parametrize(
    ("parallel_max", "states", "expected"),
    [
        pytest.param(1, [S.PENDING] * 3, ["0"], id="one at a time"),
        pytest.param(2, [S.PENDING] * 3, ["0", "1"], id="two at a time"),
        pytest.param(0, [S.PENDING] * 3, ["0", "1", "2"], id="no bound"),
        pytest.param(2, [S.RUNNING, *[S.PENDING] * 2], ["1"], id="one place is left"),
        pytest.param(2, [S.BACKOFF, S.READY, S.PENDING], [], id="none is left"),
        pytest.param(1, [S.GATED, *[S.PENDING] * 2], [], id="in order, a gate holds"),
        pytest.param(2, [S.GATED] * 2 + [S.PENDING], ["2"], id="gates take no slot"),
        pytest.param(2, [*[S.READY] * 3, S.PENDING], [], id="approved past the bound"),
    ],
)
def test_as_many_steps_start_as_there_are_places(parallel_max, states, expected):
    steps = [view(str(number), state) for number, state in enumerate(states)]

    due_now = actions_of(R.RUNNING, steps, parallel_max=parallel_max)

    assert due_now == [Release(key) for key in expected]


@pytest.mark.parametrize(
    ("run", "states", "expected"),
    [
        pytest.param(R.PAUSING, [S.RUNNING, S.READY], [], id="a pause waits for it"),
        pytest.param(
            R.PAUSING,
            [S.READY, S.PENDING],
            [Move(RunEvent.PAUSED)],
            id="a pause is confirmed when no step is running",
        ),
        pytest.param(R.PAUSED, [S.READY, S.PENDING], [], id="paused is paused"),
        pytest.param(
            R.PAUSED, [S.REJECTED, S.READY], [Cancel("b")], id="a no counts meanwhile"
        ),
        pytest.param(
            R.CANCELLING,
            [S.RUNNING, S.GATED],
            [Cancel("b")],
            id="a cancel ends what has not begun",
        ),
        pytest.param(R.CANCELLING, [S.RUNNING, S.CANCELLED], [], id="and waits"),
        pytest.param(
            R.CANCELLING,
            [S.SUCCEEDED, S.CANCELLED],
            [Move(RunEvent.CANCELLED)],
            id="then it is confirmed",
        ),
        pytest.param(
            R.ABORTING,
            [S.RUNNING, S.GATED],
            [Skip("b", "")],
            id="an abort skips what has not begun",
        ),
        pytest.param(R.ABORTING, [S.RUNNING, S.SKIPPED], [], id="it waits too"),
        pytest.param(
            R.ABORTING,
            [S.SUCCEEDED, S.SKIPPED],
            [Move(RunEvent.FAILED)],
            id="then the run has failed",
        ),
        pytest.param(R.RUNNING, [S.REJECTED, S.RUNNING], [], id="a no lets it finish"),
        pytest.param(R.AWAITING_APPROVAL, [S.PENDING] * 2, [], id="no yes, no step"),
        pytest.param(R.SUCCEEDED, [S.PENDING] * 2, [], id="after the end nothing"),
    ],
)
def test_a_run_that_is_not_simply_going_on(run, states, expected):
    steps = [view("a", states[0]), view("b", states[1])]

    assert kinds(actions_of(run, steps, parallel_max=0)) == expected


@pytest.mark.parametrize(
    ("on_failure", "states", "expected"),
    [
        ("pause", [S.FAILED, S.READY], [Move(RunEvent.PAUSE_REQUESTED)]),
        ("abort", [S.FAILED, S.READY], [Cancel("b")]),
        ("abort", [S.FAILED, S.PENDING], [Skip("b", "")]),
        ("abort", [S.FAILED, S.RUNNING], []),
        ("abort", [S.FAILED, S.SUCCEEDED], [Move(RunEvent.FAILED)]),
        ("continue", [S.FAILED, S.PENDING], [Release("b")]),
        ("continue", [S.FAILED, S.SUCCEEDED], [Move(RunEvent.PARTIALLY_SUCCEEDED)]),
        ("continue", [S.FAILED, S.FAILED], [Move(RunEvent.FAILED)]),
        ("continue", [S.SUCCEEDED, S.SKIPPED], [Move(RunEvent.PARTIALLY_SUCCEEDED)]),
        ("continue", [S.SKIPPED, S.SKIPPED], [Move(RunEvent.FAILED)]),
        ("continue", [S.INDETERMINATE, S.READY], [Move(RunEvent.PAUSE_REQUESTED)]),
    ],
)
def test_a_failure_does_what_the_plan_says(on_failure, states, expected):
    steps = [
        view(key, state, error=error_of(state))
        for key, state in zip("ab", states, strict=True)
    ]

    found = actions_of(R.RUNNING, steps, parallel_max=0, on_failure=on_failure)

    assert kinds(found) == expected


def test_an_expired_gate_is_not_a_rejection():
    steps = [view("a", S.REJECTED, error=UNANSWERED)]

    (move,) = actions_of(R.RUNNING, steps)

    assert move == Move(RunEvent.EXPIRED, "The approval of step A expired.")


def test_as_many_sub_plans_are_retried_as_the_list_may_run_at_once():
    sub_plan = Group(is_plan=True)
    steps = [view("list", S.EXPANDED, group=Group(max=2))]
    for item in "abc":
        steps += [
            view(item, S.PENDING, parent="list", group=sub_plan),
            view(f"{item}/done", S.SUCCEEDED, parent=item),
            view(f"{item}/bad", S.FAILED, parent=item),
            view(f"{item}/later", S.SKIPPED, f"{item}/bad", parent=item),
        ]
    progress = Progress(steps, parallel_max=0)

    expected = [
        action
        for item in "ab"
        for action in (Reopen(item), TryAgain(f"{item}/bad"), Revive(f"{item}/later"))
    ]
    assert next_actions(R.RUNNING, progress) == expected
    for item in "ab":
        progress.moved(item, S.EXPANDED)
        progress.moved(f"{item}/bad", S.RUNNING)
        progress.moved(f"{item}/later", S.PENDING)
    assert next_actions(R.RUNNING, progress) == []
    progress.moved("b", S.SUCCEEDED)
    expected = [Reopen("c"), TryAgain("c/bad"), Revive("c/later")]
    assert next_actions(R.RUNNING, progress) == expected
