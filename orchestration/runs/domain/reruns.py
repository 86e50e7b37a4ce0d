"""Decide which steps of a rerun run in any case; the others may reuse a result."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import zip_longest

from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.domain.fallbacks import owner_of
from orchestration.plans.domain.subplans import SEPARATOR, joined


def runs_again(
    path: str, first: str, document: PlanDocument, inside: Mapping[str, PlanDocument]
) -> bool:
    """Return True if a step is the `first` one of a rerun, inside it, or after it.

    `path` and `first` are paths such as `auth/create`; `inside` has the sub-plans by the
    paths of their plan steps. Without a first step all steps run again.
    """
    if not first:
        return True
    around = ""
    for key, chosen in zip_longest(path.split(SEPARATOR), first.split(SEPARATOR)):
        if chosen is None:
            return True  # inside the first step
        if key is None:
            return False  # a plan step around it
        step = owner_of(key)
        if step != chosen:
            return step in after(chosen, document)
        around = joined(around, step)
        document = inside.get(around, document)
    return True


def after(first: str, document: PlanDocument) -> frozenset[str]:
    """Return the steps of a plan that depend on a step, directly or not."""
    children: dict[str, list[str]] = defaultdict(list)
    for step in document.steps:
        router = document.routers.get(step.id)
        for parent in (*step.depends_on, *([router] if router else [])):
            children[parent].append(step.id)
    found: set[str] = set()
    waiting = [first]
    while waiting:
        new = set(children[waiting.pop()]) - found
        found |= new
        waiting += new
    return frozenset(found)
