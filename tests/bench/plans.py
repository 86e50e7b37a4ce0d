"""The plans of the benchmark."""

import json
from typing import Any


def chain(length: int) -> str:
    """So many steps that do nothing, one after the other."""
    return _plan("bench-chain", [_noop(n, [n - 1] if n else []) for n in range(length)])


def fan(width: int) -> str:
    """One step, then so many side by side, then one."""
    middle = range(1, width + 1)
    steps = [_noop(0, [])]
    steps += [_noop(n, [0]) for n in middle]
    steps.append(_noop(width + 1, list(middle)))
    return _plan("bench-fan", steps, parallel=True)


def gated() -> str:
    """One step that asks first and then says when it began."""
    return _plan("bench-gate", [{"id": "s0", "skill": "bench", "action": "clock"}])


def many_gates(width: int) -> str:
    """So many steps side by side, each of which asks first."""
    steps = [{"id": f"s{n}", "skill": "bench", "action": "clock"} for n in range(width)]
    return _plan("bench-gates", steps, parallel=True)


def items(count: int) -> str:
    """One step that runs once for each of so many items, side by side."""
    each: dict[str, Any] = {"id": "each", "skill": "noop", "action": "pass"}
    each |= {"forEach": list(range(count)), "params": {"value": "$item"}}
    return _plan("bench-items", [each], parallel=True)


def _noop(number: int, after: list[int]) -> dict[str, Any]:
    step = {"id": f"s{number}", "skill": "noop", "action": "pass"}
    return step | {"dependsOn": [f"s{n}" for n in after]} if after else step


def _plan(slug: str, steps: list[dict[str, Any]], **fields: Any) -> str:
    plan = {"id": slug, "name": slug, **fields, "steps": steps}
    return json.dumps({"plan": plan})
