"""The graph of a plan: order, cycles, ancestors."""

from collections.abc import Mapping, Sequence
from functools import reduce
from heapq import heappop, heappush
from operator import and_, or_
from typing import NamedTuple

Edges = Mapping[str, Sequence[str]]
"""The known steps that each step depends on, in document order."""


def order(edges: Edges) -> tuple[list[str], list[list[str]]]:
    """Return a topological order that keeps document order, and the cycles.

    If several steps could come next, the first in the document does.
    """
    keys = list(edges)
    position = {key: index for index, key in enumerate(keys)}
    waits_for = {key: len({*parents}) for key, parents in edges.items()}
    children: dict[str, list[str]] = {key: [] for key in keys}
    for key, parents in edges.items():
        for parent in {*parents}:
            children[parent].append(key)
    ready = [position[key] for key in keys if not waits_for[key]]
    ordered: list[str] = []
    while ready:
        ordered.append(keys[heappop(ready)])
        for child in children[ordered[-1]]:
            waits_for[child] -= 1
            if not waits_for[child]:
                heappush(ready, position[child])
    done = set(ordered)
    left = [key for key in keys if key not in done]
    return ordered, cycles(edges, left)


def cycles(edges: Edges, left: Sequence[str]) -> list[list[str]]:
    """Return the cycles among the steps that cannot be ordered, in document order.

    They are the strongly connected components, found with Kosaraju's algorithm.
    No recursion: a cycle may have 10,000 steps.
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


class Join(NamedTuple):
    """The dependencies and conditions that decide whether a step starts."""

    rule: str = "all_success"
    """A trigger rule, or `at_least`."""
    at_least: int = 0
    router: str = ""
    """The choose step that chooses it. The trigger rule does not count it."""
    conditional: bool = False
    """True if it has a condition of its own."""
    branches: tuple[tuple[str, ...], ...] = ()
    """For a choose step, the steps that each of its outcomes chooses."""


_PLAIN = Join()


class Ancestry:
    """The ancestors of each step, as one bit per pair: 12 MB for 10,000 steps.

    Sets of names would take gigabytes for a chain of that length.
    """

    def __init__(
        self, edges: Edges, ordered: Sequence[str], joins: Mapping[str, Join] = {}
    ) -> None:
        self._bit = {key: 1 << index for index, key in enumerate(ordered)}
        self._joins = joins
        self._before: dict[str, int] = {}
        self._succeeded: dict[str, int] = {}
        self._skippable: set[str] = set()
        """The steps that a condition may skip."""
        self._only_routed: set[str] = set()
        """The steps that only their choose step may skip."""
        self._skipped_with: dict[str, int] = {}
        """The steps that a condition has skipped whenever it has skipped this one."""
        self._source: dict[str, str] = {}
        """The step that decides alone whether this one is skipped."""
        for key in ordered:
            before = 0
            for parent in edges[key]:
                before |= self._bit[parent] | self._before[parent]
            self._before[key] = before
            self._add(key, edges[key])

    def precedes(self, first: str, second: str) -> bool:
        return bool(self._before.get(second, 0) & self._bit.get(first, 0))

    def succeeded(self, first: str, second: str) -> bool:
        """Return True if `first` has succeeded whenever `second` starts."""
        return bool(self._succeeded.get(second, 0) & self._bit.get(first, 0))

    def may_be_skipped(self, key: str) -> bool:
        """Return True if a condition may skip the step."""
        return key in self._skippable

    def _add(self, key: str, dependencies: Sequence[str]) -> None:
        join = self._joins.get(key, _PLAIN)
        parents = [each for each in dependencies if each != join.router]
        certain = self._certain(parents, join)
        if join.router in dependencies:
            certain |= self._with(join.router)
        self._succeeded[key] = certain
        skipped_with, source = self._bit[key], key
        by_parents = self._all_skippable(parents, join)
        if join.conditional or join.router:
            self._skippable.add(key)
            if not (join.conditional or by_parents):
                self._only_routed.add(key)
        elif by_parents:
            self._skippable.add(key)
            if join.rule in {"all_success", "one_success"}:
                for parent in parents:
                    skipped_with |= self._skipped_with[parent]
                if len(parents) == 1:
                    source = self._source[parents[0]]
        self._skipped_with[key], self._source[key] = skipped_with, source

    def _with(self, key: str) -> int:
        """Return what has certainly succeeded if this step has."""
        return self._bit[key] | self._succeeded[key]

    def _certain(self, parents: Sequence[str], join: Join) -> int:
        if join.rule == "all_done" or not parents:
            return 0
        each = [self._with(parent) for parent in parents]
        if join.rule == "at_least":
            return _in_at_least(each, len(parents) - join.at_least + 1)
        if join.rule == "all_success" and self._skippable.isdisjoint(parents):
            return reduce(or_, each)
        certain = reduce(and_, each)
        if join.rule == "all_success":
            all_parents = reduce(or_, (self._bit[parent] for parent in parents))
            for parent, with_parent in zip(parents, each, strict=True):
                # If it is skipped together with all others, the step does not start.
                is_alone = not all_parents & ~self._skipped_with[parent]
                if parent not in self._skippable or is_alone:
                    certain |= with_parent
        return certain

    def _all_skippable(self, parents: Sequence[str], join: Join) -> bool:
        """Return True if conditions may skip so many parents that the rule is not met."""
        if self._skippable.isdisjoint(parents):
            return False
        count = sum(parent in self._skippable for parent in parents)
        if join.rule == "at_least":
            return count > len(parents) - join.at_least
        if join.rule == "all_done" or not parents or count < len(parents):
            return False
        return not self._one_is_chosen(parents)

    def _one_is_chosen(self, parents: Sequence[str]) -> bool:
        """Return True if a choose step always chooses one of these steps."""
        sources = {self._source[parent] for parent in parents}
        routed = sources & self._only_routed
        routers = {self._joins[key].router for key in routed}
        return any(
            router not in self._skippable
            and not any(
                routed.isdisjoint(branch) for branch in self._joins[router].branches
            )
            for router in routers
            if router in self._joins
        )


def _in_at_least(masks: Sequence[int], count: int) -> int:
    """Return the bits that are set in at least `count` of the masks."""
    planes: list[int] = []  # the number of masks per bit, in binary
    for mask in masks:
        carry = mask
        for index, plane in enumerate(planes):
            planes[index], carry = plane ^ carry, plane & carry
        if carry:
            planes.append(carry)
    if count >= 1 << len(planes):
        return 0
    more, equal = 0, reduce(or_, masks)
    for index in reversed(range(len(planes))):
        if count >> index & 1:
            equal &= planes[index]
        else:
            more |= equal & planes[index]
            equal &= ~planes[index]
    return more | equal
