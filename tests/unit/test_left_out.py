"""Which steps the inputs alone leave out."""

import json
from typing import Any

import pytest

from execfabric.lib import canonical
from orchestration.plans.domain import conditions, form, source
from orchestration.plans.domain.conditions import ConditionFailed
from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.services import foreseen

PLAN = """\
plan:
  id: paths
  inputs: {type: object, properties: {go: {type: boolean}}}
  steps:
    - {id: a, skill: noop, action: pass, when: inputs.go}
    - {id: after, skill: noop, action: pass, dependsOn: [a]}
    - {id: tidy, skill: noop, action: pass, dependsOn: [a], triggerRule: all_done}
    - {id: route, kind: choose, dependsOn: [after], choose: [{else: [chosen]}]}
    - {id: chosen, skill: noop, action: pass}
    - {id: both, skill: noop, action: pass, dependsOn: [after, tidy]}
    - {id: broken, skill: noop, action: pass, when: 'inputs.missing == 1'}
"""
ORDER = ["a", "after", "tidy", "route", "chosen", "both", "broken"]


def left_out(go: bool) -> set[str]:
    document, _ = form.read(source.parse(PLAN))
    assert document is not None
    return {*foreseen.left_out(document, ORDER, {"go": go})}


def test_steps_after_skipped_steps_are_left_out_unless_they_run_in_any_case():
    assert left_out(go=False) == {"a", "after", "route", "chosen"}
    assert left_out(go=True) == set()


def chained(count: int, first: str) -> PlanDocument:
    """Return steps that choose each other in turn; `first` decides about all of them."""
    steps = [
        {
            "id": f"r{at}",
            "kind": "choose",
            "choose": [
                {"if": first if at == 0 else "inputs.go", "then": [f"r{at + 1}"]}
            ],
        }
        for at in range(count)
    ]
    end = {"id": f"r{count}", "skill": "noop", "action": "pass"}
    inputs = {"type": "object", "properties": {"go": {"type": "boolean"}}}
    plan = {"id": "chained", "inputs": inputs, "steps": [*steps, end]}
    document, problems = form.read(source.parse(json.dumps({"plan": plan})))
    assert document is not None
    assert problems == []
    return document


@pytest.mark.parametrize("ask_first", ["r0", "r5000"])
def test_a_long_chain_of_choices_is_foreseen_with_each_condition_evaluated_once(
    ask_first: str, monkeypatch: pytest.MonkeyPatch
):
    evaluated: list[str] = []
    real = conditions.evaluate

    def counted(text: str, *read: Any) -> bool:
        evaluated.append(text)
        return real(text, *read)

    monkeypatch.setattr(conditions, "evaluate", counted)
    document = chained(5_000, "!inputs.go")
    plan = foreseen.Foreseen(document, {"go": True})
    plan.skipped(document.by_id[ask_first])

    reasons = [plan.skipped(step) for step in document.steps]

    assert reasons[:2] == ["", "Step r0 does not choose it with these inputs."]
    assert set(reasons[2:-1]) == {
        f"Step r{at}, which would choose it, is skipped." for at in range(1, 4_999)
    }
    assert len(evaluated) == 1


def test_a_condition_that_fails_is_evaluated_once_for_all_that_it_decides():
    document = chained(2_000, "inputs.missing")
    plan = foreseen.Foreseen(document, {"go": True})

    for step in document.steps[1:]:
        with pytest.raises(ConditionFailed):
            plan.skipped(step)
    assert plan.skipped(document.steps[0]) == ""


def test_a_step_that_chooses_itself_is_no_endless_chain():
    text = "plan: {id: p, steps: [{id: a, kind: choose, choose: [{else: [a]}]}]}"
    document, _ = form.read(source.parse(text))
    assert document is not None
    assert foreseen.left_out(document, ["a"], {}) == {}


@pytest.mark.parametrize(("rules", "asked"), [(98, 1), (99, 0)])
def test_rules_count_and_what_they_name_is_measured_once(
    rules: int, asked: int, monkeypatch: pytest.MonkeyPatch
):
    measured: list[Any] = []
    real = canonical.dumps

    def counted(value: Any) -> bytes:
        measured.append(value)
        return real(value)

    monkeypatch.setattr(canonical, "dumps", counted)
    choose = [{"if": f"{at} in inputs.many", "then": ["a"]} for at in range(rules)]
    routers = [
        {"id": f"r{at}", "kind": "choose", "choose": choose, "when": "0 in inputs.many"}
        for at in range(2)
    ]
    end = {"id": "a", "skill": "noop", "action": "pass", "when": "1 in inputs.many"}
    document, _ = form.read(
        source.parse(json.dumps({"plan": {"id": "p", "steps": [*routers, end]}}))
    )
    assert document is not None
    measured.clear()

    left_out = foreseen.left_out(document, ["r0", "r1", "a"], {"many": [0]})

    assert set(left_out) == ({"a"} if asked else set())
    assert len(measured) == asked
