"""The graph of a plan: order, cycles, ancestors."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from operator import and_, or_

Edges = Mapping[str, Sequence[str]]
"""The known steps that each step depends on, in document order."""


def order(edges: Edges) -> tuple[list[str], list[str]]:
    """Return a topological order that keeps document order, and what is in cycles.

    Of the steps that could come next, the first in the document does.
    """
    keys = list(edges)
    position = {key: index for index, key in enumerate(keys)}
    sorter = TopologicalSorter(edges)
    with suppress(CycleError):  # the steps before a cycle still come out
        sorter.prepare()
    ready: list[int] = []
    ordered: list[str] = []
    while True:
        for key in sorter.get_ready():
            heappush(ready, position[key])
        if not ready:
            break
        ordered.append(keys[heappop(ready)])
        sorter.done(ordered[-1])
    done = set(ordered)
    left = [key for key in keys if key not in done]
    return ordered, [key for cycle in cycles(edges, left) for key in cycle]


def cycles(edges: Edges, left: Sequence[str]) -> list[list[str]]:
    """Return the cycles among the steps that cannot be ordered, in document order.

    They are the strongly connected components, found with Kosaraju's algorithm, because
    graphlib reports one cycle only. No recursion: a cycle may have 10,000 steps.
    """
    rank = {key: index for index, key in enumerate(left)}
    inner = {key: [each for each in edges[key] if each in rank] for key in left}
    children: dict[str, list[str]] = {key: [] for key in left}
    for key, parents in inner.items():
        for parent in parents:
            children[parent].append(key)
    seen: set[str] = set()
    components: list[list[str]] = []
    for key in reversed(_depth_first(inner, left)):
        component = _depth_first(children, [key], seen)
        if len(component) > 1 or (component and key in inner[key]):
            components.append(sorted(component, key=rank.__getitem__))
    return sorted(components, key=lambda component: rank[component[0]])


def _depth_first(
    edges: Edges, roots: Sequence[str], seen: set[str] | None = None
) -> list[str]:
    """Return what is reachable and not yet `seen`, each step after its successors."""
    seen = set() if seen is None else seen
    finished = []
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        key, is_done = stack.pop()
        if is_done:
            finished.append(key)
        elif key not in seen:
            seen.add(key)
            stack.append((key, True))
            stack += [(each, False) for each in edges[key]]
    return finished


class Ancestry:
    """The ancestors of each step, as one bit per pair: 12 MB for 10,000 steps.

    Sets of names would take gigabytes for a chain of that length.
    """

    def __init__(
        self, edges: Edges, ordered: Sequence[str], rules: Mapping[str, str] = {}
    ) -> None:
        self._bit = {key: 1 << index for index, key in enumerate(ordered)}
        self._before: dict[str, int] = {}
        self._succeeded: dict[str, int] = {}
        for key in ordered:
            before = 0
            for parent in edges[key]:
                before |= self._bit[parent] | self._before[parent]
            self._before[key] = before
            self._succeeded[key] = self._certain(edges[key], rules.get(key, ""))

    def precedes(self, first: str, second: str) -> bool:
        """Return True if `first` is before `second` on some path."""
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
