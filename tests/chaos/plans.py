"""Random plans of the chaos skill, and which marks their effects leave."""

import random
from dataclasses import dataclass
from typing import Any

from orchestration.plans.domain.undo import SUFFIX, is_undo
from tests import builders
from tests.chaos.handlers import BAD, GOOD

SLOWEST_S = 0.3
"""How long an effect may take: long enough to be killed before and after it."""
ODD_S = 0.03
"""The same for a step that ends badly, which may be tried several times."""
PARALLEL, ODD, FAN_OUT = 1 / 3, 1 / 4, 1 / 3
"""How many of the plans are parallel, have a step that ends badly, or a fan-out."""
UNDONE = 1 / 3
"""How many of the plans have undos: a step that ends badly starts them, or a person."""
GATED = 1 / 4
"""How many of the steps need an approval of their own."""
STEPS, ITEMS = (6, 12), (3, 6)
"""The fewest and the most steps of a plan, and items of a fan-out."""
KINDS = {"once": 4, "again": 2, "file": 1, "value": 1}
"""Kinds of steps and their weights: half of them may have their effect only once."""

AGAIN = "again"
UNDO = "undo-"
"""Before the mark of the step that is undone."""
ODD_MARK = "-odd"
"""In the keys of steps that end badly."""
FAN_OUT_MARK = "-each"
"""In the keys of steps with items."""
ONLY_PLAIN = ("file", "busy")
"""Ends that need an action which may be repeated, or a file that others read."""


@dataclass(frozen=True)
class Made:
    """A plan as text."""

    text: str
    gated: bool
    has_undo: bool


def is_odd(key: str) -> bool:
    """Return True for a step that ends badly, whatever happens around it."""
    return ODD_MARK in key and not is_undo(key)


def mark_of(step: Any) -> str:
    """Return the mark that the effect of a step run leaves in the witness file."""
    key = step.key.removesuffix(SUFFIX)
    mark = key if step.item is None else f"{key}.{step.item}"
    return f"{UNDO}{mark}" if is_undo(step.key) else mark


def is_container(step: Any) -> bool:
    """Return True for a step run that only has items, and no effect of its own."""
    is_each = FAN_OUT_MARK in step.key and step.item is None
    return is_each and not is_undo(step.key)


def random_plan(rng: random.Random, number: int) -> Made:
    """Make a plan: effects, files, gates, joins, items, odd ends, undos."""
    length = rng.randint(*STEPS)
    parallel = rng.choice([True, {"max": 2}]) if rng.random() < PARALLEL else False
    odd_at = rng.randrange(length) if rng.random() < ODD else -1
    items_at = rng.randrange(length) if rng.random() < FAN_OUT else -1
    steps: list[dict[str, Any]] = []
    gated = False
    for position in range(length):
        before = [made["id"] for made in steps]
        after = _parents(rng, before, parallel=bool(parallel))
        key = f"r{number}-s{position}"
        if position == odd_at:
            steps.append(_odd_step(rng, f"{key}{ODD_MARK}", after))
            continue
        if position == items_at:
            steps.append(_fan_out(rng, f"{key}{FAN_OUT_MARK}", after))
            continue
        writers = [s["id"] for s in steps if s["params"].get("end") == "file"]
        steps.append(_step(rng, key, after, writers))
        if len(after) > 1 and "file" not in steps[-1]["params"]:
            steps[-1]["triggerRule"] = rng.choice(["all_success", "all_done"])
        if rng.random() < GATED:
            gated = True
            _gate(steps[-1])
    has_undo = rng.random() < UNDONE
    if has_undo:
        _give_undos(rng, steps)
    reaction = "rollback" if has_undo else "continue"
    fields = {"onFailure": reaction} if odd_at >= 0 else {}
    text = builders.plan(*steps, id=f"chaos-{number}", parallel=parallel, **fields)
    return Made(text, gated, has_undo)


def _give_undos(rng: random.Random, steps: list[dict[str, Any]]) -> None:
    """Give each step with an effect an undo, which leaves a mark as well."""
    for step in steps:
        if step["params"].get("effect"):
            params = _noise(rng, f"{UNDO}$self.params.mark", ODD_S) | {"effect": True}
            action = rng.choice(["once", AGAIN])
            step["rollback"] = {"action": action, "params": params}


def _fan_out(rng: random.Random, key: str, after: list[str]) -> dict[str, Any]:
    """Make a step with items, each with an effect and a mark of its own."""
    marks = [f"{key}.{item}" for item in range(rng.randint(*ITEMS))]
    params = _noise(rng, "$item", SLOWEST_S) | {"effect": True}
    return _of(rng.choice(["once", AGAIN]), key, after, params) | {"forEach": marks}


def _gate(chosen: dict[str, Any]) -> None:
    if chosen["action"] == "once":
        chosen["action"] = "once-gated"
    else:
        chosen["approval"] = {"reason": "The plan asks for it."}


def _parents(rng: random.Random, before: list[str], *, parallel: bool) -> list[str]:
    if not before:
        return []
    if not parallel:
        return [before[-1]]
    return rng.sample(before, rng.randint(0, min(2, len(before))))


def _step(
    rng: random.Random, key: str, after: list[str], writers: list[str]
) -> dict[str, Any]:
    kind = rng.choices([*KINDS], [*KINDS.values()])[0]
    params = _noise(rng, key, SLOWEST_S)
    if kind == "file" and writers:
        file = rng.choice(writers)
        params = {"mark": key, "file": f"${file}.files.note"}
        return _of("read", key, sorted({*after, file}), params)
    if kind == "file":
        return _of("value", key, after, params | {"end": "file"})
    if kind == "value":
        return _of(kind, key, after, params | {"end": rng.choice(["busy", "large"])})
    ends = [end for end in GOOD if end not in ONLY_PLAIN]
    end = rng.choice(ends) if rng.random() < 1 / 3 else "plain"
    return _of(kind, key, after, params | {"effect": True, "end": end})


def _odd_step(rng: random.Random, key: str, after: list[str]) -> dict[str, Any]:
    params = _noise(rng, key, ODD_S) | {"end": rng.choice(sorted(BAD)), "effect": True}
    return _of(rng.choice(["once", AGAIN]), key, after, params)


def _noise(rng: random.Random, key: str, slowest: float) -> dict[str, Any]:
    before, after = (round(rng.uniform(0, slowest), 3) for _ in range(2))
    return {"mark": key, "before": before, "after": after}


def _of(
    action: str, key: str, after: list[str], params: dict[str, Any]
) -> dict[str, Any]:
    return builders.step(key, action, after=after, params=params, skill="chaos")
