"""Order, circles and ancestors."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.plans.domain.graph import Ancestry, cycles, order

GRAPHS = (
    st.integers(1, 9)
    .flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, n - 1), max_size=3), min_size=n, max_size=n
        )
    )
    .map(lambda rows: {f"s{i}": [f"s{p}" for p in row] for i, row in enumerate(rows)})
)


def test_independent_steps_keep_document_order() -> None:
    edges = {"z": [], "b": ["a"], "y": [], "a": ["z"], "c": []}

    assert order(edges) == (["z", "y", "a", "b", "c"], [])


def test_every_step_of_every_cycle_is_named_and_no_other() -> None:
    edges = {
        "before": [], "a": ["b", "before"], "b": ["a"], "between": ["b"],
        "x": ["z", "between"], "y": ["x"], "z": ["y"], "after": ["z"],
    }  # fmt: skip

    done, circular = order(edges)

    assert done == ["before"]
    assert circular == [["a", "b"], ["x", "y", "z"]]
    assert cycles(edges, list(edges)[1:]) == [["a", "b"], ["x", "y", "z"]]


def reach(edges, key):
    """Everything before a step, found the slow way."""
    seen, open_ = set(), list(edges[key])
    while open_:
        one = open_.pop()
        if one not in seen:
            seen.add(one)
            open_ += edges[one]
    return seen


@given(GRAPHS)
def test_order_cycles_and_ancestors_agree_with_a_plain_search(edges) -> None:
    done, found = order(edges)
    circular = [key for cycle in found for key in cycle]

    assert set(circular) == {key for key in edges if key in reach(edges, key)}
    assert all(
        done.index(parent) < done.index(key) for key in done for parent in edges[key]
    )
    ancestry = Ancestry(edges, done)
    assert {
        key: {first for first in done if ancestry.precedes(first, key)} for key in done
    } == {key: reach(edges, key) for key in done}
    assert set(done) == {
        key for key in edges if not reach(edges, key) & set(circular) - set(done)
        and key not in circular
    }  # fmt: skip


@pytest.mark.parametrize(("steps", "limit_s"), [(1_000, 0.05), (10_000, 2.0)])
def test_large_graphs_are_ordered_in_time(steps, limit_s) -> None:
    pick = random.Random(7)
    edges = {
        f"s{i}": [f"s{pick.randrange(max(0, i - 50), i)}" for _ in range(3 if i else 0)]
        for i in range(steps)
    }

    before = time.process_time()
    done, circular = order(edges)
    ancestry = Ancestry(edges, done)

    assert time.process_time() - before < limit_s
    assert len(done) == steps
    assert circular == []
    assert ancestry.precedes("s0", f"s{steps - 1}")


def test_a_cycle_of_ten_thousand_steps_is_found() -> None:
    edges = {f"s{i}": [f"s{(i + 1) % 10_000}"] for i in range(10_000)}

    done, circular = order(edges)

    assert done == []
    assert [len(cycle) for cycle in circular] == [10_000]
