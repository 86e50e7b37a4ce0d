"""Validation: inputs and params against their schemas, and schemas that cannot be used."""

import warnings

import pytest
import re2

from execfabric.lib.schema import linear_validator
from orchestration.plans.forms import input_fields
from tests.unit.plans import HEAD, YIELD, Registry, action, check, skill

DRAFT = "https://json-schema.org/draft/2020-12/schema"
INPUTS = """id: p
inputs:
  type: object
  properties:
    n: {type: integer}
    month: {type: string, pattern: '^[0-9]{4}$'}
    page: {type: integer, default: 1}
  required: [n]
steps:
- {id: a, skill: lab, action: yield, params: {n: $inputs.%s}}
"""


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({"n": 1}, [], id="right"),
        pytest.param(None, [], id="not known yet"),
        pytest.param({}, ["plan.input_invalid"], id="missing"),
        pytest.param({"n": "1"}, ["plan.input_invalid"], id="wrong type"),
        pytest.param({"n": 1, "mnoth": "x"}, ["plan.input_invalid"], id="not asked for"),
        pytest.param({"n": 1, "month": "x"}, ["plan.input_invalid"], id="pattern"),
        pytest.param({"n": 1, "month": "1" * 300}, ["plan.input_invalid"], id="too long"),
        pytest.param({"n": 0}, ["plan.param_invalid"], id="known value in a param"),
        pytest.param(
            {"n": {"$file": {}}}, ["plan.input_invalid"], id="forged file"
        ),
    ],
)  # fmt: skip
def test_inputs_are_checked_against_their_schema(inputs, expected) -> None:
    found = check(INPUTS % "n", inputs=inputs)

    assert sorted({one.code for one in found}) == expected


def test_an_input_that_may_be_absent_gives_a_warning() -> None:
    text = INPUTS.replace(
        "{n: $inputs.%s}", "{rows: ['$inputs.month', '$inputs.page']}"
    )

    assert [(one.code, one.severity) for one in check(text)] == [
        ("plan.reference_optional", "warning")
    ]


def test_the_type_of_an_input_is_checked_against_the_parameter() -> None:
    found = check(INPUTS % "month")

    assert "plan.type_mismatch" in [one.code for one in found]


def test_a_plan_without_inputs_takes_none() -> None:
    found = check(f"{HEAD}- {{{YIELD}}}", inputs={"x": 1})

    assert [one.code for one in found] == ["plan.input_invalid"]


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param("{type: nonsense}", id="no such type"),
        pytest.param("{type: array}", id="not an object"),
        pytest.param("{properties: {a: {$ref: 'http://127.0.0.1:9/x'}}}", id="fetched"),
        pytest.param("{properties: {a: {$ref: '#'}}}", id="referring"),
        pytest.param("{properties: {a: {pattern: 'a(?=b)'}}}", id="looking ahead"),
        pytest.param("{properties: {a: {pattern: '('}}}", id="no pattern"),
        pytest.param("{patternProperties: {'(a': {}}}", id="pattern of names"),
        pytest.param("{properties: {a: {items: {pattern: 'a(?<!b)'}}}}", id="deep"),
        pytest.param(
            f"{{properties: {{a: {{$schema: '{DRAFT}'}}}}}}", id="other rules"
        ),
    ],
)
def test_an_unusable_schema_of_inputs_is_refused_at_its_position(schema) -> None:
    text = f"id: p\ninputs: {schema}\nsteps:\n- {{{YIELD}}}"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check(text, inputs={"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"})

    assert {(one.code, one.line) for one in found} == {("plan.schema_invalid", 2)}


@pytest.mark.parametrize("uri", [DRAFT, "http://json-schema.org/draft-07/schema#"])
def test_a_schema_in_a_schema_does_not_bring_back_the_patterns_of_python(uri) -> None:
    inner = {"$schema": uri, "pattern": "(?=x)x"}

    with pytest.raises(re2.error):
        linear_validator({"properties": {"a": inner}}).is_valid({"a": "x"})


@pytest.mark.parametrize("head", ["id: 'bad id'", "name: without id"])
def test_a_bad_id_and_an_unusable_schema_are_both_listed(head) -> None:
    found = check(f"{head}\ninputs: {{type: 5}}\nsteps:\n- {{{YIELD}}}")

    assert "plan.schema_invalid" in {one.code for one in found}
    assert len(found) == 2


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    text = (
        "id: p\ninputs: {properties: {pattern: {type: string}, $ref: {}},"
        f" default: {{$ref: x}}}}\nsteps:\n- {{{YIELD}}}"
    )

    assert check(text) == []


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"^\d{4}-\d{2}$", "2030-01", True),
        (r"^\d{4}-\d{2}$", "2030-01\n", False),
        (r"^\d$", "٣", False),
        (r"^[a-z]+(-[a-z]+)*$", "a-bc-d", True),
        (r"^v\d+(\.\d+)*$", "v1.20.3", True),
        (r"^(feature|fix)/[A-Z]+-\d+(-[a-z0-9]+)*$", "fix/AB-12-x", True),
        (r"^https?://[^/\s]+(/.*)?$", "https://example.com/a b", True),
        (r"^[\w.]+@[\w.]+\.\w+$", "a.b@example.com", True),
        (r"^\d{1,3}(\.\d{1,3}){3}$", "10.0.0.1", True),
        (r"(?P<a>é+)[\]^]*\x41{2,}?b{}", "éé]^AAb{}", True),
        (r"^(a|b)?$", "c", False),
    ],
)
def test_patterns_of_plans_follow_re2(pattern, text, expected) -> None:
    assert linear_validator({"pattern": pattern}).is_valid(text) is expected


def test_an_external_reference_in_a_skill_schema_is_reported_and_not_fetched() -> None:
    wild = skill("wild", action("go", input_schema={"$ref": "http://127.0.0.1:9/x"}))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check(
            f"{HEAD}- {{id: a, skill: wild, action: go}}", registry=Registry(wild)
        )

    assert [one.code for one in found] == ["plan.param_invalid"]


def test_a_condition_on_an_unknown_value_is_left_to_the_run() -> None:
    schema = {
        "type": "object",
        "if": {"properties": {"mode": {"const": "a"}}},
        "then": {"required": ["x"]},
        "else": {"required": ["y"]},
    }
    odd = skill("odd", action("go", input_schema=schema))
    text = HEAD + "- {id: a, skill: odd, action: go, params: {mode: %s}}"

    assert check(text % "$run.id", registry=Registry(odd)) == []
    assert len(check(text % "a", registry=Registry(odd))) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": ["string", "null"]}}},
        {"properties": {"a": {}}, "required": 5},
        {"properties": {"a": {"enum": 5}}},
        {"properties": 5},
    ],
)
def test_a_schema_of_any_form_has_fields_or_none(schema) -> None:
    assert len(input_fields(schema, {}, {})) in {0, 1}
