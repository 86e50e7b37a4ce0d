"""Random plans of the laboratory skill, and which marks their effects leave."""

import random
from dataclasses import dataclass
from typing import Any

from tests import builders

SLOWEST_S = 0.3
"""How long an effect may take: long enough to be killed before and after it."""

ONCE = ("witness", "witness-gated")
AGAIN = "witness-again"


@dataclass(frozen=True)
class Made:
    """A plan as text."""

    text: str
    gated: bool


def random_plan(rng: random.Random, number: int) -> Made:
    """A plan of three to six steps: effects, values, files, gates, some side by side."""
    length = rng.randint(3, 6)
    parallel = rng.random() < 1 / 3
    gated = rng.random() < 1 / 4
    steps: list[dict[str, Any]] = []
    for position in range(length):
        before = [made["id"] for made in steps]
        after = _parents(rng, before, parallel=parallel)
        writers = [s["id"] for s in steps if s["action"] == "write"]
        steps.append(_step(rng, f"r{number}-s{position}", after, writers))
    if gated:
        chosen = rng.choice(steps)
        if chosen["action"] == "witness":
            chosen["action"] = "witness-gated"
        else:
            chosen["approval"] = {"reason": "The plan asks for it."}
    text = builders.plan(*steps, id=f"chaos-{number}", parallel=parallel)
    return Made(text, gated)


def _parents(rng: random.Random, before: list[str], *, parallel: bool) -> list[str]:
    if not before:
        return []
    if not parallel:
        return [before[-1]]
    return rng.sample(before, rng.randint(0, min(2, len(before))))


def _step(
    rng: random.Random, key: str, after: list[str], writers: list[str]
) -> dict[str, Any]:
    kind = rng.choices(["witness", AGAIN, "write", "echo"], [4, 2, 2, 1])[0]
    if kind == "write" and writers:
        file = rng.choice(writers)
        params: dict[str, Any] = {"file": f"${file}.files.note"}
        return builders.step(key, "read", after=sorted({*after, file}), params=params)
    if kind == "write":
        return builders.step(key, kind, after=after, params={"text": f"of {key}"})
    if kind == "echo":
        return builders.step(key, kind, after=after, params={"text": key})
    params = {
        "mark": key,
        "before": round(rng.uniform(0, SLOWEST_S), 3),
        "after": round(rng.uniform(0, SLOWEST_S), 3),
    }
    return builders.step(key, kind, after=after, params=params)
