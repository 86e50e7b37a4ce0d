"""Waits in sub-plans and lists that outlive the approval of the plan around them."""

import pytest

from orchestration.plans.domain import source, validation, waits
from orchestration.plans.domain.waiting import WaitLimits
from tests.unit.plans import Registry
from tests.unit.plans import plan as parsed
from tests.unit.test_plan_subplans import Saved
from tests.unit.test_plan_waits import AT

WEEK = 7 * 86400
INNER = """
id: inner
inputs: {properties: {pause: {type: string, default: 8d}}}
steps:
  - {id: w, kind: wait, for: %s}
"""
MIDDLE = """
id: middle
steps:
  - {id: in, kind: plan, plan: inner, inputs: %s}
"""
OUTER = """
id: p
%s
inputs: {properties: {days: {type: array}}, required: [days]}
steps:
  - {id: s, kind: plan, plan: middle%s}
"""


def warnings(inner: str, given: str = "{}", keys: str = "", top: str = ""):
    text = OUTER % (top, keys)
    found = validation.validate(
        parsed(text),
        source.parse(text).positions,
        catalog=Registry(),
        inputs={"days": [1, 2, 3]},
        limits=WaitLimits(AT, WEEK),
        plans=Saved(INNER % inner, MIDDLE % given),
    ).problems
    assert {(one.code, one.severity, one.step, one.line) for one in found} <= {
        ("plan.wait_outlives_approval", "warning", "s", 6)
    }
    return [one.message.partition(". ")[0] for one in found]


@pytest.mark.parametrize(
    ("inner", "given", "days"),
    [
        ("6d", "{}", ""),
        ("8d", "{}", "8d"),
        ("$inputs.pause", "{}", "8d"),
        ("$inputs.pause", "{pause: 9d}", "9d"),
        ("$inputs.pause", "{pause: 2d}", ""),
        ("$inputs.pause", "{pause: 'no time'}", ""),
    ],
)
def test_a_long_wait_at_any_depth_is_a_warning_at_the_plan_step(inner, given, days):
    said = [f"Step 'in/w' in it may wait {days}"] if days else []

    assert warnings(inner, given) == said


@pytest.mark.parametrize(
    ("top", "keys", "turns"),
    [
        ("", ", forEach: [a, b, c]", 3),
        ("", ", forEach: $inputs.days", 3),
        ("parallel: true", ", forEach: [a, b, c]", 0),
        ("parallel: true", ", forEach: [a, b, c], max: 2", 2),
        ("", ", forEach: [a]", 0),
        ("", ", forEach: []", 0),
    ],
)
def test_items_that_wait_one_after_another_wait_longer(top, keys, turns):
    days = f"{4 * turns}d for {turns} items, one after another"
    said = [f"Step 'in/w' in it may wait {days}"] if turns else []

    assert warnings("4d", keys=keys, top=top) == said


@pytest.mark.parametrize(("plan_steps", "codes"), [(49, []), (50, ["too_many_steps"])])
def test_the_waits_of_a_saved_plan_are_read_once_and_never_in_a_plan_too_large(
    plan_steps, codes, monkeypatch
):
    read: list[str] = []
    real = waits.longest

    def counted(step, at):
        read.append(step.id)
        return real(step, at)

    monkeypatch.setattr(waits, "longest", counted)
    inner = "id: inner\nsteps:\n" + "".join(
        f"  - {{id: w{at}, kind: wait, for: 1d}}\n" for at in range(200)
    )
    text = "id: p\nsteps:\n" + "".join(
        f"  - {{id: s{at}, kind: plan, plan: inner}}\n" for at in range(plan_steps)
    )

    found = validation.validate(
        parsed(text),
        source.parse(text).positions,
        catalog=Registry(),
        inputs={},
        limits=WaitLimits(AT, WEEK),
        plans=Saved(inner),
    )

    assert [one.code for one in found.problems] == [f"plan.{code}" for code in codes]
    # Each wait once by itself, then once for all plan steps together.
    assert len(read) == plan_steps + 200 * (1 if codes else 2)
