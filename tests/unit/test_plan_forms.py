"""Input steps in a plan: their keys, what is reported, what later steps know."""

import pytest

from orchestration.plans.domain import document
from orchestration.plans.domain.document import from_normal_form, normal_form
from tests.unit.plans import check
from tests.unit.plans import plan as parsed

FORM = "form: {type: object, properties: {amount: {type: integer}}, required: [amount]}"
TEXT = """
id: p
steps:
  - {id: ask, kind: input, %s}
"""
GROUPS = {"operator": 2, "admin": 1, "auditor": 0}


@pytest.mark.parametrize(
    "keys",
    [
        FORM,
        f"{FORM}, ask: {{reason: How much?, groups: [operator, admin], expiresIn: 2d}}",
        f"{FORM}, ask: {{expires_in: 1h}}",
    ],
)
def test_a_form_is_valid_and_keeps_its_digest(keys):
    plan = parsed(TEXT % keys)

    assert check(TEXT % keys, groups=GROUPS) == []
    assert document.digest(from_normal_form(normal_form(plan))) == document.digest(plan)


@pytest.mark.parametrize(
    ("keys", "code", "at"),
    [
        pytest.param("name: A", "plan.missing_key", "{id", id="no form"),
        pytest.param("form: 3", "plan.wrong_type", "form", id="no object"),
        pytest.param(
            "form: {type: objekt}", "plan.form_invalid", "type", id="no schema"
        ),
        pytest.param("form: {type: array}", "plan.form_invalid", "type", id="a list"),
        pytest.param("form: {type: object}", "plan.form_invalid", "form", id="empty"),
        pytest.param(
            "form: {properties: {a: {$ref: '#/b'}}}",
            "plan.form_invalid",
            "$ref",
            id="ref",
        ),
        pytest.param(
            "form: {properties: {a: {type: string, format: file}}}",
            "plan.form_invalid",
            "a:",
            id="a file",
        ),
        pytest.param(
            f"{FORM}, ask: {{groups: [oprator]}}",
            "plan.unknown_group",
            "oprator",
            id="g",
        ),
        pytest.param(
            f"{FORM}, ask: {{groups: [auditor]}}",
            "plan.gate_unsatisfiable",
            "auditor",
            id="no one",
        ),
        pytest.param(
            f"{FORM}, ask: {{groups: [{{group: operator, count: 2}}]}}",
            "plan.form_invalid",
            "{group:",
            id="two answers",
        ),
        pytest.param(
            f"{FORM}, ask: {{reason: $b.output}}",
            "plan.reference_unknown",
            "reason",
            id="reason",
        ),
        pytest.param(
            f"{FORM}, params: {{}}", "plan.unknown_key", "params", id="params"
        ),
        pytest.param(f"{FORM}, for: 1m", "plan.unknown_key", "for:", id="a wait"),
    ],
)
def test_a_wrong_form_is_marked_where_it_is(keys, code, at):
    text = TEXT % keys
    first = check(text, groups=GROUPS)[0]

    column = text.splitlines()[3].index(at) + 1
    assert (first.code, first.line, first.step) == (code, 4, "ask")
    assert first.column == column


def test_other_kinds_have_no_form():
    text = "id: p\nsteps:\n  - {id: a, kind: approval, form: {}}\n"

    assert [one.code for one in check(text)] == ["plan.unknown_key"]


@pytest.mark.parametrize(
    ("field", "codes"), [("amount", []), ("amuont", ["plan.reference_unknown"])]
)
def test_later_steps_know_the_fields_of_the_form(field, codes):
    form = FORM.replace("required", "additionalProperties: false, required")
    text = (TEXT % form) + (
        f"  - {{id: b, kind: approval, dependsOn: [ask],"
        f" approval: {{reason: '${{ask.output.{field}}}'}}}}\n"
    )

    assert [one.code for one in check(text)] == codes
