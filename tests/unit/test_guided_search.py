"""Users act on failed steps in every order: nothing gets stuck, nothing runs twice."""

import pytest

from orchestration.runs.domain.members import Group
from orchestration.runs.domain.progress import StepStatus
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from tests.guided_model import Shape, World, answers, carried_out, check, check_move
from tests.guided_model import decided as due

R, S = RunState, StepState


def one(key, *after, **fields):
    return StepStatus(key, key, S.PENDING, after, **fields)


def container(key, *after, **group):
    return StepStatus(key, key, S.EXPANDED, after, group=Group(**group))


SHAPES = {
    "a chain": (one("a"), one("odd", "a"), one("c", "odd")),
    "a join": (one("a"), one("b"), one("c", "a", "b", trigger_rule="all_done")),
    "one of two": (one("a"), one("b"), one("c", "a", "b", trigger_rule="one_success")),
    "a fallback": (
        one("a", has_fallback=True),
        one("a.fallback", parent="a"),
        one("b", "a"),
    ),
    "a list": (
        container("list"),
        one("list0", parent="list"),
        one("list1", parent="list"),
        one("b", "list"),
    ),
    "a list that stops": (
        container("list", stop=True),
        one("list0", parent="list"),
        one("list1", parent="list"),
        one("b", "list"),
    ),
    "a list of which one must succeed": (
        container("list", join="any"),
        one("list0", parent="list"),
        one("list1", parent="list"),
        one("b", "list"),
    ),
    "a list with fallbacks": (
        container("list", max=1),
        one("list0", parent="list", has_fallback=True),
        one("list0.fallback", parent="list0"),
        one("list1", parent="list"),
    ),
    "a sub-plan": (
        container("plan", stop=True, is_plan=True),
        one("x", parent="plan"),
        one("y", "x", parent="plan"),
        one("z", parent="plan"),
        one("b", "plan"),
    ),
    "sub-plans in a list": (
        container("list", stop=True, max=1),
        StepStatus(
            "p0", "p0", S.EXPANDED, parent="list", group=Group(stop=True, is_plan=True)
        ),
        one("x", parent="p0"),
        one("y", parent="p0"),
        one("p1", parent="list"),
    ),
}


def explored(shape: Shape, patience: int) -> int:
    """Visit every world that workers and users can lead to; return how many there are."""
    ways: dict[World, list[World]] = {}
    fresh = [shape.start(patience)]
    while fresh:
        world = fresh.pop()
        if world in ways:
            continue
        check(shape, world)
        actions = due(shape, world)
        then = (
            carried_out(shape, world, actions) if actions else [*answers(shape, world)]
        )
        for after in then:
            check_move(world, after)
        if not actions and world.run is R.RUNNING:
            assert any(after.patience == world.patience for after in then), world
        ways[world] = then
        fresh.extend(each for each in then if each not in ways)
    _assert_all_can_end(ways)
    return len(ways)


def _assert_all_can_end(ways: dict[World, list[World]]) -> None:
    """From every world the run can end, or it waits for a user who may still act."""
    back: dict[World, list[World]] = {}
    for source, targets in ways.items():
        for target in targets:
            back.setdefault(target, []).append(source)
    can = {world for world in ways if world.run in FINAL_RUN or world.run is R.PAUSED}
    fresh = [*can]
    while fresh:
        for source in back.get(fresh.pop(), ()):
            if source not in can:
                can.add(source)
                fresh.append(source)
    stuck = ways.keys() - can
    assert not stuck, next(iter(stuck))


@pytest.mark.parametrize("on_failure", ["pause", "continue", "abort"])
@pytest.mark.parametrize("parallel_max", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_order_of_acts_gets_stuck_or_runs_a_step_twice(
    shape, parallel_max, on_failure
):
    found = explored(Shape(SHAPES[shape], on_failure, parallel_max), patience=2)

    assert found > 50
