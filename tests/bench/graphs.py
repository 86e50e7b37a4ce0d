"""The time to check a plan and to lay out its graph, by the number of steps."""

import json
import random
import time
from collections.abc import Callable
from graphlib import TopologicalSorter
from statistics import median
from typing import Any

from execfabric.infra import memory
from execfabric.lib.actor import Actor
from orchestration.plans.domain import source
from orchestration.plans.domain.layout import layout
from orchestration.plans.services import check as plans

NEAR = 30
"""How many steps lie between a step and its dependencies, at most."""
PARENTS = 3
ROUNDS = 5


def by_size(by: Actor, sizes: list[int]) -> dict[int, dict[str, float]]:
    """Return CPU milliseconds of each part, medians of some rounds."""
    return {size: _measured(by, size) for size in sizes}


def dependencies(count: int) -> dict[str, list[str]]:
    """Return a graph in which each step depends on three of the thirty before it."""
    chance = random.Random(9)
    return {
        f"s{at}": [
            f"s{one}"
            for one in sorted(
                chance.sample(range(max(0, at - NEAR), at), k=min(PARENTS, at))
            )
        ]
        for at in range(count)
    }


def document(count: int) -> str:
    """Return the text of the plan; each step refers to an output of another one."""
    steps: list[dict[str, Any]] = []
    for key, parents in dependencies(count).items():
        value = f"${parents[0]}.output.value" if parents else "first"
        step = {
            "id": key,
            "skill": "noop",
            "action": "pass",
            "params": {"value": value},
        }
        steps.append(step | {"dependsOn": parents})
    plan = {"id": "graph", "parallel": True, "steps": steps}
    return json.dumps({"plan": plan})


def _measured(by: Actor, count: int) -> dict[str, float]:
    text, edges = document(count), dependencies(count)
    checked = plans.check(text=text, inputs={}, by=by)
    assert checked.valid, checked.problems[:3]
    memory.settle()  # as the web server does

    def bare() -> None:
        """Parse and sort with libraries alone."""
        steps = json.loads(text)["plan"]["steps"]
        graph = {step["id"]: step["dependsOn"] for step in steps}
        list(TopologicalSorter(graph).static_order())

    return {
        "edges": sum(map(len, edges.values())),
        "bare": _timed(bare),
        "parse": _timed(lambda: source.parse(text)),
        "check": _timed(lambda: plans.check(text=text, inputs={}, by=by)),
        "layout": _timed(lambda: layout(edges)),
    }


def _timed(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        times.append((time.process_time() - begun) * 1000)
    return median(times)
