"""The layout of a plan's graph: dependencies point down, parallel steps are side by side.

The layer of a step is the length of the longest chain of dependencies before it. Within
the layers, `fast-sugiyama` places the steps and routes the arrows between them.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, sqrt
from operator import itemgetter
from typing import Any, NamedTuple

from fast_sugiyama import from_edges

from orchestration.plans.domain.graph import Edges

# The library describes each of its steps at the level INFO.
for _name in ("connected_components", "rust-sugiyama"):
    logging.getLogger(_name).setLevel(logging.WARNING)

THOROUGH = 300
"""Up to this number of steps, neighbors are also exchanged to avoid crossings.

That takes most of the time: 3 s for 10,000 steps instead of 0.6 s.
"""
THOROUGH_BENDS = 3_000
"""The same for the points that arrows pass."""
LOOSE_COLUMNS = 4
"""Up to this number, the steps without any dependency are in one row."""


class Spot(NamedTuple):
    """A place in the graph: the middle of a column, and a layer."""

    x: float
    """In columns from the left; two steps of a layer are at least 1 apart."""
    layer: int


class Route(NamedTuple):
    """An arrow from a dependency to a step, around the steps between them."""

    start: str
    end: str
    spots: tuple[Spot, ...]
    """The spots that it passes, from `start` to `end`, one in each layer."""


@dataclass(frozen=True)
class Layout:
    spots: Mapping[str, Spot]
    routes: Sequence[Route]
    loose: Sequence[str]
    """The steps that depend on nothing and that nothing depends on."""

    @cached_property
    def columns(self) -> float:
        passed = (spot.x for route in self.routes for spot in route.spots)
        return max([spot.x for spot in self.spots.values()] + [*passed], default=-1) + 1

    @cached_property
    def layers(self) -> int:
        return max((spot.layer for spot in self.spots.values()), default=-1) + 1


def layout(edges: Edges) -> Layout:
    """Lay out a graph without cycles; equal graphs get equal layouts.

    Components are side by side in document order, and steps without any dependency
    are a block at the right.
    """
    spots: dict[str, Spot] = {}
    routes: list[Route] = []
    loose: list[str] = []
    left = 0.0
    for keys in _components(edges):
        if len(keys) == 1:
            loose += keys
            continue
        places, links = _placed(keys, edges, left)
        spots |= {key: places[number] for number, key in enumerate(keys)}
        for path in _paths(links, len(keys)):
            passed = tuple([places[one] for one in path])
            routes.append(Route(keys[path[0]], keys[path[-1]], passed))
        left = max(places.values()).x + 1
    return Layout(spots | _block(loose, left), routes, loose)


def bends(edges: Edges) -> int:
    """Return the number of points between the rows that arrows pass.

    The library's time grows with them, and nothing interrupts it. Steps are in an order
    in which they may run.
    """
    row: dict[str, int] = {}
    for key, parents in edges.items():
        row[key] = 1 + max((row[parent] for parent in parents), default=-1)
    return sum(row[key] - row[one] for key, parents in edges.items() for one in parents)


def _components(edges: Edges) -> list[list[str]]:
    """Return the steps that hang together, in document order."""
    neighbors = {key: list(parents) for key, parents in edges.items()}
    for key, parents in edges.items():
        for parent in parents:
            neighbors[parent].append(key)
    component: dict[str, int] = {}
    for key in edges:
        stack = [] if key in component else [key]
        number = len(component)
        while stack:
            one = stack.pop()
            if one not in component:
                component[one] = number
                stack += neighbors[one]
    found: dict[int, list[str]] = defaultdict(list)
    for key in edges:
        found[component[key]].append(key)
    return list(found.values())


Links = Sequence[tuple[int, int]]
"""Edges between numbers; a long edge is a chain of links through bends."""


def _placed(
    keys: Sequence[str], edges: Edges, left: float
) -> tuple[dict[int, Spot], Links]:
    """Place one component; its steps are numbers, and higher numbers are bends.

    Numbers, because the library would put names into a set, which has no fixed order.
    One component, because of several it would give bends the numbers of steps.
    """
    count = len(keys)
    number = {key: index for index, key in enumerate(keys)}
    pairs = [(number[one], number[key]) for key in keys for one in edges[key]]
    is_small = (
        count <= THOROUGH and bends({key: edges[key] for key in keys}) <= THOROUGH_BENDS
    )
    found: Any = from_edges(
        pairs, vertex_spacing=1, ranking_type="up", transpose=is_small
    )
    ((places, _, _, links),) = found
    top = max(y for _, (_, y) in places)  # roots have the largest y
    side = -1 if _is_mirrored(places, count) else 1
    shift = left - min(side * x for _, (x, _) in places)
    # All x are halves or quarters, so these sums are exact.
    spots = {one: Spot(side * x + shift, round(top - y)) for one, (x, y) in places}
    return spots, links


def _is_mirrored(places: Iterable[tuple[int, tuple[float, float]]], count: int) -> bool:
    """Return True if most neighbors are in reverse document order."""
    rows: dict[float, list[tuple[float, int]]] = defaultdict(list)
    for one, (x, y) in places:
        if one < count:
            rows[y].append((x, one))
    neighbors = [pair for row in rows.values() for pair in pairwise(sorted(row))]
    reverse = sum(left[1] > right[1] for left, right in neighbors)
    return reverse * 2 > len(neighbors)


def _paths(links: Links, count: int) -> list[list[int]]:
    """Join the links through bends, which have numbers from `count` on."""
    after_bend = {one: another for one, another in links if one >= count}
    paths = []
    for start, another in sorted(links):
        if start >= count:
            break
        path = [start, another]
        while path[-1] >= count:
            path.append(after_bend[path[-1]])
        paths.append(path)
    # The sort keeps the order of the starts among paths with the same end.
    return sorted(paths, key=itemgetter(-1))


def _block(loose: Sequence[str], left: float) -> dict[str, Spot]:
    columns = max(LOOSE_COLUMNS, ceil(sqrt(len(loose))))
    return {
        key: Spot(left + index % columns, index // columns)
        for index, key in enumerate(loose)
    }
