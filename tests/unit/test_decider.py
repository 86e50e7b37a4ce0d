"""The decider: what is due next, by example, exhaustively, and at random."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestration.runs.domain.decider import (
    Action,
    Cancel,
    Move,
    Release,
    Skip,
    next_actions,
)
from orchestration.runs.domain.progress import (
    UNANSWERED,
    Progress,
    StepStatus,
)
from orchestration.runs.domain.states import (
    FINAL_RUN,
    RunEvent,
    RunState,
    StepState,
)
from tests.run_model import (
    Graph,
    State,
    answers,
    carried_out,
    check,
    due,
    error_of,
    start,
)

R, S = RunState, StepState
RULES = ("all_success", "one_success", "all_done")
FAILURES = ("pause", "abort", "continue")


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
    ],
)
def test_a_rule_holds_never_will_or_may_yet(rule_name, parents, expected):
    steps = [
        view("a", parents[0]),
        view("b", parents[1]),
        view("c", S.PENDING, "a", "b", trigger_rule=rule_name),
    ]

    found = actions_of(R.RUNNING, steps, parallel_max=0, on_failure="continue")

    assert kinds(found) == expected


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


def graphs(size: int) -> Iterator[Graph]:
    """Every graph of so many steps, with every rule wherever a rule has parents."""
    earlier = [
        [c for n in range(index + 1) for c in combinations(range(index), n)]
        for index in range(size)
    ]
    for parents in product(*earlier):
        choices = [RULES if one else RULES[:1] for one in parents]
        for rules in product(*choices):
            yield Graph(parents, rules)


def explored(graph: Graph, patience: int = 1) -> int:
    """Visit every state a world can lead to; return how many there are."""
    ways: dict[State, set[State]] = {}
    fresh = [replace(start(graph), patience=patience)]
    while fresh:
        state = fresh.pop()
        if state in ways:
            continue
        actions = due(graph, state)
        if not actions:
            check(graph, state)
        then = carried_out(graph, state, actions) if actions else answers(graph, state)
        ways[state] = set(then)
        fresh.extend(ways[state] - ways.keys())
    _assert_all_can_end(ways)
    return len(ways)


def _assert_all_can_end(ways: dict[State, set[State]]) -> None:
    """From every state some answers lead to the end, or a person may still ask for it."""
    back: dict[State, set[State]] = {}
    for source, targets in ways.items():
        for target in targets:
            back.setdefault(target, set()).add(source)
    can = {s for s in ways if s.run in FINAL_RUN or s.run is R.PAUSED}
    fresh = list(can)
    while fresh:
        for source in back.get(fresh.pop(), ()):
            if source not in can:
                can.add(source)
                fresh.append(source)
    stuck = ways.keys() - can
    assert not stuck, next(iter(stuck))


@pytest.mark.parametrize("on_failure", ["pause", "abort", "continue"])
@pytest.mark.parametrize("parallel_max", [1, 2, 0])
@pytest.mark.parametrize("size", [1, 2])
def test_every_small_plan_reaches_a_legal_end(size, parallel_max, on_failure):
    found = [
        explored(Graph(g.parents, g.rules, parallel_max, on_failure))
        for g in graphs(size)
    ]

    assert min(found) > 10


@pytest.mark.parametrize("on_failure", FAILURES)
@pytest.mark.parametrize(
    ("parallel_max", "patience"),
    [
        pytest.param(1, 2, id="in order, and a person interferes"),
        pytest.param(2, 0, id="two at a time"),
        pytest.param(0, 0, id="side by side"),
    ],
)
def test_every_plan_of_three_reaches_a_legal_end(parallel_max, patience, on_failure):
    for graph in graphs(3):
        explored(Graph(graph.parents, graph.rules, parallel_max, on_failure), patience)


@st.composite
def larger_graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(4, 8))
    parents = tuple(
        tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=3))))
        if index
        else ()
        for index in range(size)
    )
    rules = tuple(draw(st.sampled_from(RULES)) if one else RULES[0] for one in parents)
    parallel_max = draw(st.sampled_from([1, 2, 0]))
    return Graph(parents, rules, parallel_max, draw(st.sampled_from(FAILURES)))


class RunCourse(RuleBasedStateMachine):
    """A larger plan in a world that may answer anything, any number of times."""

    @initialize(graph=larger_graphs(), data=st.data())
    def begin(self, graph: Graph, data: st.DataObject) -> None:
        self.graph = graph
        self.state = replace(start(graph), patience=4)
        self._settle(data)

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        then = list(answers(self.graph, self.state))
        if not then:
            return
        before, self.state = self.state, data.draw(st.sampled_from(then))
        assert not self._went_back(before, self.state)
        self._settle(data)

    @invariant()
    def all_holds(self) -> None:
        check(self.graph, self.state)

    def _settle(self, data: st.DataObject) -> None:
        for _ in range(4 * len(self.state.steps) + 4):
            actions = due(self.graph, self.state)
            if not actions:
                return
            then = list(carried_out(self.graph, self.state, actions))
            self.state = data.draw(st.sampled_from(then))
        pytest.fail(f"the decider never has enough: {self.state}")

    @staticmethod
    def _went_back(before: State, after: State) -> list[int]:
        """Return the steps that succeeded and no longer do."""
        pairs = enumerate(zip(before.steps, after.steps, strict=True))
        return [n for n, (a, b) in pairs if a is S.SUCCEEDED and b is not S.SUCCEEDED]


RunCourse.TestCase.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, derandomize=True
)
TestRunCourse = RunCourse.TestCase
