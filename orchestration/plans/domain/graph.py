"""The graph of a plan: order, circles, ancestors."""

import heapq
from collections.abc import Mapping, Sequence

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
    return done, _in_circles(left, edges)


def ancestors(edges: Edges, ordered: Sequence[str]) -> dict[str, frozenset[str]]:
    """Per step everything that is before it on some path."""
    found: dict[str, frozenset[str]] = {}
    for key in ordered:
        parents = edges[key]
        found[key] = frozenset(parents).union(*(found[parent] for parent in parents))
    return found


def _in_circles(left: Sequence[str], edges: Edges) -> list[str]:
    """Of the steps that cannot be ordered, those that lie on a circle themselves.

    What only comes behind a circle is peeled off from the end.
    """
    members = set(left)
    children = dict.fromkeys(members, 0)
    for key in members:
        for parent in set(edges[key]) & members:
            children[parent] += 1
    loose = [key for key in members if not children[key]]
    while loose:
        key = loose.pop()
        members.discard(key)
        for parent in set(edges[key]) & members:
            children[parent] -= 1
            if not children[parent]:
                loose.append(parent)
    return [key for key in left if key in members]
