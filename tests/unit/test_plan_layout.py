"""The layout of a plan's graph: arrows point down, and no box covers another."""

import random
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execfabric.local.layout import PROJECT
from orchestration.plans.domain.layout import Layout, bends, layout
from orchestration.plans.pages import graph
from orchestration.plans.pages.graph import MOST_BENDS, GraphStep, OfStep

GRAPHS = st.lists(st.sets(st.integers(0, 30), max_size=4), min_size=0, max_size=30).map(
    lambda rows: {
        f"s{at}": [f"s{one}" for one in sorted(row) if one < at]
        for at, row in enumerate(rows)
    }
)


def local(count: int) -> dict[str, list[str]]:
    """Build a graph whose steps depend on up to three of the thirty steps before."""
    chance = random.Random(7)
    return {
        f"s{at}": [
            f"s{one}"
            for one in sorted({chance.randrange(max(0, at - 30), at) for _ in range(3)})
        ]
        if at
        else []
        for at in range(count)
    }


def check(edges, placed: Layout) -> None:
    assert set(placed.spots) == set(edges)
    assert sorted((r.start, r.end) for r in placed.routes) == sorted(
        (one, key) for key in edges for one in edges[key]
    )
    rows = defaultdict(list)
    for spot in placed.spots.values():
        rows[spot.layer].append(spot.x)
        assert 0 <= spot.x <= placed.columns - 1
        assert 0 <= spot.layer < placed.layers
    for row in rows.values():
        assert all(b - a >= 0.999 for a, b in pairwise(sorted(row)))
    for route in placed.routes:
        ends = (placed.spots[route.start], placed.spots[route.end])
        assert (route.spots[0], route.spots[-1]) == ends
        assert all(b.layer == a.layer + 1 for a, b in pairwise(route.spots))


@given(GRAPHS)
def test_arrows_point_down_and_no_two_steps_overlap(edges) -> None:
    placed = layout(edges)

    check(edges, placed)
    depth: dict[str, int] = {}
    for key, parents in edges.items():
        depth[key] = max((depth[one] + 1 for one in parents), default=0)
        if key not in placed.loose:
            assert placed.spots[key].layer == depth[key]


@given(GRAPHS)
def test_no_arrow_runs_through_a_box_beside_it(edges) -> None:
    placed = layout(edges)
    clear = graph.WIDTH / 320 / 2

    for route in placed.routes:
        for bend in route.spots[1:-1]:
            beside = [s.x for s in placed.spots.values() if s.layer == bend.layer]
            assert all(abs(x - bend.x) > clear for x in beside)


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_a_large_graph_is_laid_out(count) -> None:
    edges = local(count)

    check(edges, layout(edges))


SHAPES = {
    "no step": {},
    "one step": {"a": []},
    "no dependency": {f"s{at}": [] for at in range(30)},
    "two components": {"a": [], "x": [], "b": ["a"], "y": ["x"], "z": []},
    "a long arrow in the second component": {
        "a": [],
        "b": [],
        "x": [],
        "y": ["a"],
        "c": ["b"],
        "d": ["b", "x", "c"],
    },
    "wide": {"a": []} | {f"s{at}": ["a"] for at in range(100)},
}


@pytest.mark.parametrize("edges", SHAPES.values(), ids=SHAPES)
def test_every_shape_is_laid_out(edges) -> None:
    check(edges, layout(edges))


def test_components_are_side_by_side_in_document_order() -> None:
    spots = layout(SHAPES["two components"]).spots

    assert spots["a"].x < spots["x"].x < spots["z"].x
    assert spots["a"].layer == spots["x"].layer == spots["z"].layer == 0


def test_neighbors_are_in_document_order_where_that_is_possible() -> None:
    spots = layout(SHAPES["wide"]).spots
    row = sorted((spots[key].x, key) for key in SHAPES["wide"] if key != "a")

    assert [key for _, key in row] == [f"s{at}" for at in range(100)]


def test_another_process_gets_the_same_layout() -> None:
    code = (
        "from tests.unit.test_plan_layout import layout, local;"
        "found = layout(local(200));"
        "print(sorted(found.spots.items()), found.routes)"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT,
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    found = layout(local(200))

    assert texts == {f"{sorted(found.spots.items())} {found.routes}\n".encode()}


def test_boxes_and_arrows_lie_inside_the_picture() -> None:
    steps = [GraphStep(key, after=tuple(after)) for key, after in local(60).items()]
    steps.append(GraphStep("loose"))
    steps.append(GraphStep("looser"))

    found = graph.drawn(steps, lambda at, _: OfStep(f"#{at}"), parallel=0, wanted=False)

    for node in found.nodes:
        assert 0 <= node.x <= found.width - graph.WIDTH
        assert 0 <= node.y <= found.height - graph.HEIGHT
    assert found.frame is not None
    x, y, width, height = found.frame
    assert min(x, y) >= 0
    assert x + width <= found.width
    assert y + height <= found.height


@pytest.mark.parametrize(
    ("count", "wanted", "withheld"),
    [
        (graph.AT_ONCE, False, ""),
        (graph.AT_ONCE + 1, False, "large"),
        (graph.AT_ONCE + 1, True, ""),
        (graph.MOST + 1, True, "too_large"),
    ],
)
def test_large_graphs_are_drawn_on_request_up_to_a_limit(
    count, wanted, withheld
) -> None:
    steps = [GraphStep(f"s{at}") for at in range(count)]

    found = graph.drawn(steps, lambda *_: OfStep("#"), parallel=0, wanted=wanted)

    assert found.withheld == withheld
    assert found.total == count
    assert len(found.nodes) == (0 if withheld else count)


def test_an_arrow_leads_from_a_choose_step_to_the_steps_it_chooses() -> None:
    steps = [
        {"id": "route", "kind": "choose", "choose": []},
        {"id": "deep", "chosen_by": "route", "depends_on": []},
        {"id": "quick", "when": "inputs.fast", "depends_on": ["route"]},
        {"id": "end", "depends_on": ["deep", "quick"], "trigger_rule": "one_success"},
    ]

    found = graph.of_subject({"steps": steps})

    assert [(one.after, one.join) for one in found] == [
        ((), ""),
        (("route",), "if chosen"),
        (("route",), "on a condition"),
        (("deep", "quick"), "after the first success"),
    ]


def test_a_dense_plan_is_counted_before_it_is_laid_out() -> None:
    dense = {f"s{i}": [f"s{j}" for j in range(i)] for i in range(70)}
    chain = {f"s{i}": [f"s{i - 1}"] if i else [] for i in range(1_000)}

    assert bends(dense) > MOST_BENDS
    assert bends(chain) == 999
