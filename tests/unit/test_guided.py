"""What a user may do about a failed step: one table for each thing that decides it."""

import pytest

from orchestration.runs.domain import consequences, decider, guided
from orchestration.runs.domain.decider import Revive, TryAgain
from orchestration.runs.domain.guided import OpenFailures, StepAct
from orchestration.runs.domain.members import SKIPPED_BY_USER, Group
from orchestration.runs.domain.progress import UPSTREAM_FAILED, Progress, StepStatus
from orchestration.runs.domain.states import RunState, StepState

R, S, A = RunState, StepState, StepAct
ALL = frozenset(A)
STARTS = {A.RETRY, A.FALLBACK}
INSIDE = ALL - {A.EDIT}
"""Edited is a step of the plan itself: its parameters are those of all items."""


def one(key, state=S.PENDING, *after, **fields):
    return StepStatus(key, key, state, after, **fields)


def possible(key, *steps, run=R.PAUSED, kind="skill", on_failure="pause"):
    progress = Progress(steps, on_failure=on_failure)
    step = next(each for each in steps if each.key == key)
    acts = guided.actions_for(step, progress, run=OpenFailures(run), kind=kind)
    return {act for act, why_not in acts.items() if not why_not}


FAILED = one("a", S.FAILED, has_fallback=True, error="step.condition_failed")


@pytest.mark.parametrize("run", list(R))
@pytest.mark.parametrize("on_failure", ["pause", "continue", "abort"])
def test_the_state_of_the_run_decides(run, on_failure):
    expected = {R.PAUSED: ALL, R.PAUSING: ALL, R.RUNNING: ALL}.get(run, set())
    if run is R.RUNNING and on_failure == "abort":
        expected = set()
    if run is not R.PAUSED:
        expected = expected - {StepAct.EDIT}

    assert possible("a", FAILED, run=run, on_failure=on_failure) == expected


@pytest.mark.parametrize("state", list(S))
def test_only_a_failed_step_is_acted_on(state):
    step = FAILED._replace(state=state)
    steps = [step]
    if state is S.FALLING_BACK:
        steps.append(one("f", parent="a"))

    assert possible("a", *steps) == (ALL if state is S.FAILED else set())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("skill", ALL),
        ("approval", ALL - {A.COMPLETE, A.EDIT}),
        ("input", ALL - {A.COMPLETE, A.EDIT}),
        ("wait", ALL - {A.COMPLETE, A.EDIT}),
        ("choose", ALL - {A.COMPLETE, A.EDIT}),
        ("for_each", ALL - {A.COMPLETE, A.EDIT}),
        ("plan", ALL - {A.COMPLETE, A.EDIT}),
    ],
)
def test_only_a_step_with_an_action_is_completed_by_hand(kind, expected):
    assert possible("a", FAILED, kind=kind) == expected


@pytest.mark.promise("S0.14")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ALL),
        ({"has_fallback": False}, ALL - {A.FALLBACK}),
        ({"error": "step.fallback_failed"}, ALL - {A.FALLBACK}),
    ],
)
def test_a_fallback_is_run_if_there_is_one_that_has_not_run(fields, expected):
    assert possible("a", FAILED._replace(**fields)) == expected


def inside(state, *others, **group):
    return (
        one("list", state, group=Group(**group)),
        FAILED._replace(parent="list"),
        *(one(f"o{n}", s, parent="list") for n, s in enumerate(others)),
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(inside(S.EXPANDED, S.RUNNING), INSIDE, id="others run"),
        pytest.param(inside(S.EXPANDED, S.FAILED), INSIDE, id="others do not stop it"),
        pytest.param(
            inside(S.EXPANDED, S.FAILED, stop=True),
            INSIDE - STARTS,
            id="others stop it",
        ),
        pytest.param(inside(S.FAILED, S.SUCCEEDED), INSIDE, id="failed because of it"),
        pytest.param(
            inside(S.FAILED, S.FAILED),
            INSIDE - STARTS,
            id="failed because of others too",
        ),
        pytest.param(inside(S.SUCCEEDED, S.SUCCEEDED), set(), id="not needed"),
        pytest.param(inside(S.SKIPPED, S.SUCCEEDED), set(), id="skipped"),
        pytest.param(inside(S.PENDING, S.SUCCEEDED), set(), id="being retried"),
    ],
)
def test_what_is_around_a_step_decides(steps, expected):
    assert possible("a", *steps) == expected


def test_a_fallback_has_no_acts_of_its_own():
    owner = FAILED._replace(error="step.fallback_failed")

    assert possible("f", owner, one("f", S.FAILED, parent="a")) == set()


@pytest.mark.parametrize(
    ("steps", "run", "kind", "sentence"),
    [
        ([FAILED], R.RUNNING, "skill", "The run is running. Pause it first."),
        ([FAILED], R.PAUSING, "skill", "The run is pausing. Wait until it is paused."),
        ([FAILED], R.AWAITING_APPROVAL, "skill", "The run is awaiting approval."),
        ([FAILED], R.PAUSED, "approval", "Only the parameters of a single action"),
        (inside(S.EXPANDED), R.PAUSED, "skill", "It is an item of step list"),
        (
            inside(S.EXPANDED, is_plan=True),
            R.PAUSED,
            "skill",
            "It is part of the saved plan of step list.",
        ),
    ],
)
def test_it_is_said_why_a_step_cannot_be_edited(steps, run, kind, sentence):
    progress = Progress(steps, on_failure="pause")
    step = next(each for each in steps if each.key == "a")

    reason = guided.why_not(A.EDIT, step, progress, run=OpenFailures(run), kind=kind)

    assert reason.startswith(sentence)


SKIPPED = {"error": UPSTREAM_FAILED}


@pytest.mark.parametrize(
    ("act", "steps", "expected"),
    [
        (A.RETRY, [FAILED], [TryAgain("a")]),
        (
            A.RETRY,
            [FAILED, one("b", S.SKIPPED, "a", **SKIPPED)],
            [TryAgain("a"), Revive("b")],
        ),
        (A.SKIP, [FAILED, one("b", S.SKIPPED, "a", **SKIPPED)], []),
        (A.COMPLETE, [FAILED, one("b", S.SKIPPED, "a", **SKIPPED)], [Revive("b")]),
        (
            A.COMPLETE,
            [FAILED, one("b", S.SKIPPED, "a", error=SKIPPED_BY_USER)],
            [],
        ),
        (A.RETRY, inside(S.FAILED, S.SUCCEEDED), [TryAgain("list")]),
        (A.SKIP, inside(S.FAILED, S.SUCCEEDED), [TryAgain("list")]),
        (A.SKIP, inside(S.FAILED, S.FAILED), []),
        (A.RETRY, inside(S.EXPANDED, S.SUCCEEDED), [TryAgain("a")]),
        (A.SKIP, inside(S.EXPANDED, S.SUCCEEDED), []),
        (A.SKIP, inside(S.EXPANDED, S.SKIPPED, stop=True), [Revive("o0")]),
    ],
)
def test_what_follows_for_other_steps(act, steps, expected):
    progress = Progress(steps)

    step = next(each for each in steps if each.key == "a")

    assert guided.following(act, step, progress) == expected


@pytest.mark.parametrize(
    ("run", "reason", "states", "proposer_active", "expected"),
    [
        (R.PAUSED, "Step a failed.", [S.SKIPPED, S.PENDING], True, True),
        (R.PAUSING, "Step a failed.", [S.PENDING, S.RUNNING], True, True),
        (R.PAUSED, "Step a failed.", [S.PENDING, S.FAILED], True, False),
        (R.PAUSED, "Step a failed.", [S.PENDING, S.INDETERMINATE], True, False),
        (R.PAUSED, "Step a failed.", [S.PENDING], False, False),
        (R.PAUSED, "Paused by operator.", [S.PENDING], True, False),
        (R.RUNNING, "", [S.PENDING], True, False),
    ],
)
def test_when_the_run_goes_on(run, reason, states, proposer_active, expected):
    progress = Progress(
        one(key, state) for key, state in zip("abc", states, strict=False)
    )

    found = guided.may_go_on(run, reason, progress, proposer_active=proposer_active)

    assert found is expected


def foreseen(key, *steps, readers=()):
    return consequences.of_skip(Progress(steps), key, readers=readers)


def test_a_skip_runs_and_skips_later_steps_as_they_are_declared():
    found = foreseen(
        "a",
        one("done", S.SUCCEEDED),
        one("a", S.FAILED, "done"),
        one("b", S.PENDING, "a"),
        one("c", S.PENDING, "b"),
        one("d", S.PENDING, "a", "done", trigger_rule="one_success"),
        one("e", S.PENDING, "c", trigger_rule="all_done"),
        one("free", S.PENDING),
        readers={"d", "b"},
    )

    assert found.runs == ("d", "e", "free")
    assert found.skipped == ("b", "c")
    assert found.without == ("d",)
    assert found.fails == ()


def test_other_failures_and_unknown_outcomes_are_not_consequences_of_a_skip():
    found = foreseen(
        "a",
        one("a", S.FAILED),
        one("other", S.FAILED),
        one("odd", S.INDETERMINATE),
        one("b", S.PENDING, "other"),
        one("c", S.PENDING, "odd"),
    )

    assert found.runs == ("other", "odd", "b", "c")
    assert found.skipped == ()


def test_a_skip_of_an_item_lets_its_list_end():
    group = {"group": Group(stop=True)}
    found = foreseen(
        "x",
        one("list", S.FAILED, **group),
        one("x", S.FAILED, parent="list"),
        one("y", S.SKIPPED, parent="list", **SKIPPED),
        one("b", S.PENDING, "list"),
    )

    assert found.runs == ("list", "y", "b")
    assert found.fails == ()


def test_a_list_that_needs_a_success_fails_nevertheless():
    found = foreseen(
        "x",
        one("list", S.FAILED, group=Group(join="any")),
        one("x", S.FAILED, parent="list"),
        one("b", S.PENDING, "list"),
    )

    assert found.fails == ("list",)
    assert found.skipped == ("b",)


@pytest.mark.parametrize(
    ("group", "members", "expected"),
    [
        (Group(), ["user", "done"], "succeeded"),
        (Group(), ["user", "user"], "succeeded"),
        (Group(), ["user", "failure"], "failed"),
        (Group(is_plan=True), ["user", "failure"], "succeeded"),
        (Group(is_plan=True), ["user", "failed"], "failed"),
        (Group(join="any"), ["user", "user"], "failed"),
        (Group(join="any"), ["user", "done"], "succeeded"),
        (Group(join="at_least", at_least=1), ["user", "done"], "succeeded"),
        (Group(join="at_least", at_least=2), ["user", "done"], "failed"),
    ],
)
def test_what_becomes_of_a_container_whose_member_a_user_skipped(
    group, members, expected
):
    states = {
        "user": (S.SKIPPED, SKIPPED_BY_USER),
        "failure": (S.SKIPPED, UPSTREAM_FAILED),
        "failed": (S.FAILED, ""),
        "done": (S.SUCCEEDED, ""),
    }
    rows = [states[member] for member in members]
    progress = Progress(
        [
            one("list", S.EXPANDED, group=group),
            *(
                one(str(n), state, parent="list", error=error)
                for n, (state, error) in enumerate(rows)
            ),
        ]
    )

    [(step, event)] = progress.closable()

    assert (step.key, str(event)) == ("list", expected)


@pytest.mark.parametrize("run", [R.ABORTING, R.CANCELLING])
def test_no_fallback_starts_in_a_run_that_a_user_ends(run):
    progress = Progress([FAILED._replace(error="lab.refused")])

    [action] = decider.next_actions(run, progress)

    assert isinstance(action, decider.Move)
