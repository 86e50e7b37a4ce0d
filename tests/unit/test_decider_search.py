"""The decider on every small plan, and on random ones: each reaches a legal end."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestration.runs.domain.states import (
    FINAL_RUN,
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
    start,
)

R, S = RunState, StepState
RULES = ("all_success", "one_success", "all_done")
FAILURES = ("pause", "abort", "continue")


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


@pytest.mark.parametrize("parallel_max", [1, 2, 0])
def test_every_small_plan_that_waits_reaches_a_legal_end(parallel_max):
    found = [
        explored(Graph(g.parents, g.rules, parallel_max, waits=frozenset({key})))
        for g in graphs(2)
        for key in (0, 1)
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


COUNTED = (*RULES, "at_least:1", "at_least:2")


@pytest.mark.parametrize("on_failure", FAILURES)
@pytest.mark.parametrize("parallel_max", [1, 0])
@pytest.mark.parametrize(
    "parents", [((), (), (0, 1)), ((), (0,), (0, 1)), ((), (0,), (1,))]
)
def test_every_plan_of_three_with_conditions_ends(parents, parallel_max, on_failure):
    found = [
        explored(
            Graph(parents, ("all_success", *rules), parallel_max, on_failure, some), 0
        )
        for rules in product(("all_success", "all_done"), COUNTED)
        for some in map(frozenset, [(0,), (1,), (0, 1), (0, 1, 2)])
        if "2" not in rules[1] or len(parents[2]) > 1
    ]

    assert min(found) > 10


@pytest.mark.parametrize("on_failure", FAILURES)
@pytest.mark.parametrize("parallel_max", [1, 0])
@pytest.mark.parametrize(
    ("parents", "routers"),
    [
        pytest.param(((), (), ()), (None, 0, 0), id="two to choose from"),
        pytest.param(((), (), (1,)), (None, 0, None), id="after a chosen one"),
        pytest.param(((), (), (1,)), (None, None, 0), id="chosen, with a dependency"),
        pytest.param(((), (), ()), (None, 0, 1), id="one choice after another"),
    ],
)
def test_every_plan_of_three_with_choices_ends(
    parents, routers, parallel_max, on_failure
):
    found = [
        explored(
            Graph(parents, ("all_success",) * 2 + (last,), parallel_max, on_failure,
                  some, routers),
            patience=0,
        )
        for last in (RULES if parents[2] else RULES[:1])
        for some in (frozenset(), frozenset({0}), frozenset({1}))
    ]  # fmt: skip

    assert min(found) > 10


@st.composite
def larger_graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(4, 8))
    parents = tuple(
        tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=3))))
        if index
        else ()
        for index in range(size)
    )
    router = draw(st.none() | st.integers(0, size - 2))
    routers = tuple(
        router
        if router is not None and index > router and draw(st.booleans())
        else None
        for index in range(size)
    )
    parents = tuple(
        tuple(key for key in one if key != routers[index])
        for index, one in enumerate(parents)
    )
    counted = [
        [*RULES, *(f"at_least:{n}" for n in range(1, len(one) + 1))] for one in parents
    ]
    rules = tuple(
        draw(st.sampled_from(each)) if len(each) > 3 else RULES[0] for each in counted
    )
    conditional = draw(st.frozensets(st.integers(0, size - 1), max_size=3))
    return Graph(
        parents,
        rules,
        draw(st.sampled_from([1, 2, 0])),
        draw(st.sampled_from(FAILURES)),
        conditional,
        routers,
        draw(st.frozensets(st.integers(0, size - 1), max_size=2)),
    )


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
