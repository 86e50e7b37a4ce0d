"""The graph of a plan: order, circles, ancestors."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import and_, or_

Edges = Mapping[str, Sequence[str]]
"""Per step, in document order, the steps that it depends on (known ones only)."""


def order(edges: Edges) -> tuple[list[str], list[str]]:
    """A topological order that keeps document order, and what is in circles.

    Kahn (1962); of the steps that could come next, the first in the document does.
    """
    keys = list(edges)
    position = {key: index for index, key in enumerate(keys)}
    missing = {key: len(set(parents)) for key, parents in edges.items()}
    children: dict[str, list[str]] = {key: [] for key in edges}
    for key, parents in edges.items():
        for parent in dict.fromkeys(parents):
            children[parent].append(key)
    ready = [position[key] for key in keys if not missing[key]]
    done: list[str] = []
    while ready:
        key = keys[heapq.heappop(ready)]
        done.append(key)
        for child in children[key]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, position[child])
    left = [key for key in edges if missing[key]]
    return done, [key for circle in circles(edges, left) for key in circle]


class Ancestry:
    """What comes before what, as one bit per pair: 10,000 steps take 12 MB.

    Sets of names would take gigabytes for a chain of that length.
    """

    def __init__(
        self, edges: Edges, ordered: Sequence[str], rules: Mapping[str, str] = {}
    ) -> None:
        self._bit = {key: 1 << index for index, key in enumerate(ordered)}
        self._keys = tuple(ordered)
        self._before: dict[str, int] = {}
        self._succeeded: dict[str, int] = {}
        for key in ordered:
            before = 0
            for parent in edges[key]:
                before |= self._bit[parent] | self._before[parent]
            self._before[key] = before
            self._succeeded[key] = self._certain(edges[key], rules.get(key, ""))

    def precedes(self, first: str, second: str) -> bool:
        """Whether `first` is before `second` on some path."""
        return bool(self._before.get(second, 0) & self._bit.get(first, 0))

    def succeeded(self, first: str, second: str) -> bool:
        """Return True if `first` has succeeded whenever `second` starts."""
        return bool(self._succeeded.get(second, 0) & self._bit.get(first, 0))

    def _certain(self, parents: Sequence[str], rule: str) -> int:
        """Return the ancestors that have succeeded when a join of this rule starts."""
        if rule == "all_done" or not parents:
            return 0
        each = [self._bit[parent] | self._succeeded[parent] for parent in parents]
        return reduce(and_ if rule == "one_success" else or_, each)

    def of(self, key: str) -> frozenset[str]:
        """Everything that is before a step."""
        before = self._before.get(key, 0)
        return frozenset(one for one in self._keys if self._bit[one] & before)


def circles(edges: Edges, left: Sequence[str]) -> list[list[str]]:
    """The circles among the steps that cannot be ordered, members in document order."""
    rank = {key: number for number, key in enumerate(left)}
    found = _Circles(edges, rank).found
    for component in found:
        component.sort(key=rank.__getitem__)
    return sorted(found, key=lambda component: rank[component[0]])


class _Circles:
    """Strongly connected components after Tarjan (1972), with a stack of its own: a
    circle of 10,000 steps must not exhaust Python's.
    """

    def __init__(self, edges: Edges, members: Mapping[str, int]) -> None:
        self.found: list[list[str]] = []
        self._edges = edges
        self._members = members
        self._index: dict[str, int] = {}
        self._low: dict[str, int] = {}
        self._trail: list[str] = []
        self._on_trail: dict[str, int] = {}
        for key in members:
            if key not in self._index:
                self._walk(key)

    def _walk(self, root: str) -> None:
        work = [self._enter(root)]
        while work:
            key, parents = work[-1]
            parent = next(parents, None)
            if parent is None:
                work.pop()
                self._leave(key)
                if work:
                    self._lower(work[-1][0], self._low[key])
            elif parent not in self._index:
                work.append(self._enter(parent))
            elif parent in self._on_trail:
                self._lower(key, self._index[parent])

    def _enter(self, key: str) -> tuple[str, Iterator[str]]:
        self._index[key] = self._low[key] = len(self._index)
        self._on_trail[key] = len(self._trail)
        self._trail.append(key)
        return key, iter([one for one in self._edges[key] if one in self._members])

    def _lower(self, key: str, index: int) -> None:
        self._low[key] = min(self._low[key], index)

    def _leave(self, key: str) -> None:
        if self._low[key] != self._index[key]:
            return
        component = self._trail[self._on_trail[key] :]
        for member in component:
            del self._on_trail[member], self._trail[-1]
        if len(component) > 1 or key in self._edges[key]:
            self.found.append(component)
