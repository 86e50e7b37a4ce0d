"""The fields of the form view: what a field shows is what it writes."""

import pytest

from orchestration.plans import examples
from orchestration.plans.domain import source
from orchestration.plans.domain.edit_fields import EditField, PlanVocabulary
from orchestration.plans.domain.field_changes import changed, is_same
from orchestration.plans.domain.form_actions import pressed
from orchestration.plans.domain.plan_text import PlanText
from orchestration.plans.domain.step_fields import (
    plan_fields,
    references,
    step_fields,
)

EVERYTHING = """\
id: everything
blueprint: {type: object, properties: {auth: {type: string}}}
inputs: {type: object, properties: {env: {type: string}, n: {type: integer}}, required: [env]}
parallel: {max: 2}
steps:
  - {id: ask, kind: input, form: {type: object, properties: {size: {type: integer}}}, ask: {reason: How large?, groups: [operator]}}
  - id: route
    kind: choose
    depends_on: [ask]
    choose:
      - {if: 'steps.ask.output.size > 10', then: [large]}
      - {else: []}
  - {id: large, skill: noop, action: pass, approval: true, params: {value: '5', list: [1, $ask.output.size]}}
  - {id: each, forEach: $inputs.list, as: port, skill: noop, action: pass, dependsOn: [large], params: {value: "$port"}, fallback: {skill: noop, action: pass}}
  - {id: pause, kind: wait, for: 10m}
  - {id: sub, kind: plan, plan: other@2, inputs: {service: x}}
"""
TEXTS = [EVERYTHING, *examples.pack_texts(), *map(examples.text, examples.titles())]
WORDS = PlanVocabulary((), ())


def _fields(plan: PlanText) -> list[EditField]:
    groups = [plan_fields(plan)]
    groups += [step_fields(plan, at, WORDS) for at in range(len(plan.steps))]
    return [each for one in groups for group in one.values() for each in group]


def _typed(each: EditField) -> list[str]:
    if each.kind == "flag":
        return ["true"] if each.value else []
    return list(each.value) if each.kind == "steps" else [each.value]


def _value(text: str) -> dict:
    value = source.parse(text).value
    return value.get("plan", value)


@pytest.mark.parametrize("text", TEXTS)
def test_a_field_writes_what_it_shows(text: str) -> None:
    plan, wanted = PlanText(text), _value(text)
    fields = _fields(plan)
    assert len({each.name for each in fields}) == len(fields)
    for each in fields:
        assert is_same(each, _typed(each)), each
        if each.value and each.kind not in {"id", "flag"}:
            made = changed(plan, each, _typed(each))
            assert _value(made.replace("depends_on", "dependsOn")) == _value(
                text.replace("depends_on", "dependsOn")
            ), each
    assert _value(plan.text) == wanted


def test_values_are_typed_as_yaml_and_references_as_text() -> None:
    plan = PlanText(EVERYTHING)
    [value] = [e for e in _fields(plan) if e.path == ("steps", 2, "params", "value")]
    for typed, wanted in {
        "7": 7,
        "'7'": "7",
        "true": True,
        "null": None,
        "$ask.output.size": "$ask.output.size",
        "[1, {a: b}]": [1, {"a": "b"}],
        "[broken": "[broken",
        "a: b: c": "a: b: c",
        "- x\n- y": ["x", "y"],
    }.items():
        made = _value(changed(plan, value, [typed]))
        assert made["steps"][2]["params"]["value"] == wanted
        again = step_fields(PlanText(changed(plan, value, [typed])), 2, WORDS)
        assert again["params"][0].value or wanted is None
    assert "value" not in _value(changed(plan, value, [""]))["steps"][2]["params"]


@pytest.mark.parametrize(
    "text",
    [
        "steps:\n  - id: a\n    params:\n      v: old  # c\n",
        "steps:\n  - {id: a, params: {v: old}}\n",
        "steps:\n  - id: a\n",
    ],
)
def test_scalars_are_written_as_typed(text: str) -> None:
    plan = PlanText(text)
    field = EditField(("steps", 0, "params", "v"), "value", "v", "old")
    for typed in ("012", "1.50", "0x1F", "1e3", "9007199254740993", "'q'", " 7 "):
        made = changed(plan, field, [typed])
        assert f"v: {typed.strip()}" in made
        found = {each.code for each in source.parse(made).problems}
        assert found == {each.code for each in source.parse(typed).problems}
    for typed in ("v1 # x", "a, b", "two\nlines", "# x", "'a' # b", "&a x", "a\n# b"):
        made = changed(plan, field, [typed])
        assert _value(made)["steps"][0]["params"]["v"] == typed
    for typed in ("--- x", "a: 1\n...\n", "---\na: 1", "{a: 1, a: 2}"):
        with pytest.raises(ValueError, match=r"documents|Duplicate"):
            changed(plan, field, [typed])
    with pytest.raises(ValueError, match="documents"):
        changed(plan, EditField(("steps", 0), "snippet", ""), ["---\nid: b"])


def test_json_numbers_are_written_as_typed() -> None:
    plan = PlanText('{"steps": [{"id": "a", "params": {"v": 1}}]}')
    field = EditField(("steps", 0, "params", "v"), "value", "v", "1")
    for typed, wanted in (("1.50", "1.50"), ("1e3", "1e3"), ("012", "12")):
        assert f'"v": {wanted}}}' in changed(plan, field, [typed])


def test_line_ends_of_a_text_are_not_a_change() -> None:
    for value in ("a\r\nb", "a\rb"):
        field = EditField(("name",), "text", "Name", value, is_scalar=True)
        assert is_same(field, ["a\r\nb"])
        assert field.rows == 2


def test_an_approval_without_a_reason_stays_an_approval() -> None:
    plan = PlanText(EVERYTHING)
    fields = {each.path: each for each in _fields(plan)}
    reason = fields["steps", 2, "approval", "reason"]
    plan = PlanText(changed(plan, reason, ["Look"]))
    assert _value(plan.text)["steps"][2]["approval"] == {"reason": "Look"}
    plan = PlanText(changed(plan, reason, [""]))
    assert _value(plan.text)["steps"][2]["approval"] is True
    plan = PlanText(changed(plan, fields["steps", 2, "approval"], []))
    assert "approval" not in _value(plan.text)["steps"][2]
    groups = fields["steps", 0, "ask", "groups"]
    plan = PlanText(changed(plan, groups, ["[operator, admin]"]))
    assert _value(plan.text)["steps"][0]["ask"]["groups"] == ["operator", "admin"]


def test_references_of_a_step_name_inputs_items_answers_and_lists() -> None:
    plan = PlanText(EVERYTHING)
    found = list(references(plan, 3, WORDS))
    assert found[:4] == ["$port", "$index", "$inputs.env", "$inputs.n"]
    assert {"$blueprint.auth", "$ask.output.size", "$run.id"} <= {*found}
    assert "$each.output.items" in references(plan, 2, WORDS)


def test_buttons_without_effect_change_nothing() -> None:
    plan = PlanText(EVERYTHING)
    for act, argument in (
        ("up", "0"),
        ("down", "5"),
        ("up", "99"),
        ("delete", "-1"),
        ("delete", "x"),
        ("add", "unknown"),
        ("input", "env"),
        ("input", ""),
        ("line", "x"),
        ("none", ""),
    ):
        assert pressed(plan, act, argument, "0").text == EVERYTHING
    dropped = _value(pressed(plan, "drop", "env", "plan").text)
    assert dropped["inputs"] == {"type": "object", "properties": {"n": {"type": "integer"}}}  # fmt: skip
