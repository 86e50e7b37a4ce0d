"""A blueprint is an input with a short name."""

import pytest

from orchestration.plans.domain import document as documents
from orchestration.plans.domain import form, source

PLAN = """\
plan:
  id: assemble
  {blueprint}
  inputs: {inputs}
  steps:
    - {{id: list, skill: noop, action: pass, params: {{value: [$blueprint.ports, '$${{blueprint.auth}}', '${{blueprint.auth}}!', $blueprints.x]}}}}
    - id: route
      kind: choose
      choose:
        - {{if: 'blueprint.auth == "blueprint.none" && has(blueprint.ports)', then: [{step}]}}
    - {{id: {step}, when: blueprint.mobile, forEach: $blueprint.ports, as: port, skill: noop, action: pass}}
"""
SCHEMA = "{type: object, properties: {auth: {type: string}, ports: {type: array}, mobile: {type: boolean}}}"


def read(blueprint=f"blueprint: {SCHEMA}", inputs="{type: object}", step="last"):
    text = PLAN.format(blueprint=blueprint, inputs=inputs, step=step)
    return form.read(source.parse(text))


def test_a_blueprint_becomes_a_required_input():
    document, problems = read(
        inputs="{type: object, properties: {x: {}}, required: [x]}"
    )

    assert problems == []
    assert document is not None
    assert document.inputs_schema == {
        "type": "object",
        "properties": {
            "blueprint": {
                "type": "object",
                "properties": {
                    "auth": {"type": "string"},
                    "ports": {"type": "array"},
                    "mobile": {"type": "boolean"},
                },
            },
            "x": {},
        },
        "required": ["blueprint", "x"],
    }
    assert "blueprint" not in documents.normal_form(document)


def test_its_short_names_become_the_long_ones():
    document, _ = read()

    assert document is not None
    assert document.by_id["list"].params["value"] == [
        "$inputs.blueprint.ports",
        "$${blueprint.auth}",
        "${inputs.blueprint.auth}!",
        "$blueprints.x",
    ]
    assert document.by_id["last"].for_each == "$inputs.blueprint.ports"
    assert document.by_id["last"].when == "inputs.blueprint.mobile"
    [rule] = document.by_id["route"].choose
    assert rule.condition == (
        'inputs.blueprint.auth == "blueprint.none" && has(inputs.blueprint.ports)'
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"blueprint": "blueprint: 7"},
        {"inputs": "{type: object, properties: {blueprint: {}}}"},
        {"step": "blueprint"},
    ],
)
def test_a_blueprint_that_cannot_be_one_is_refused(changes):
    _, problems = read(**changes)

    assert "plan.blueprint_invalid" in [problem.code for problem in problems]


def test_without_a_blueprint_the_name_has_no_meaning():
    document, _ = read(blueprint="description: none", step="blueprint")

    assert document is not None
    assert document.by_id["blueprint"].for_each == "$blueprint.ports"
    assert document.by_id["blueprint"].when == "blueprint.mobile"


def test_the_keys_of_the_plan_know_the_short_names_too():
    text = PLAN.format(
        blueprint=f"blueprint: {SCHEMA}\n"
        "  concurrency: {key: 'deploy-$blueprint.auth'}\n"
        "  outputs: {auth: $blueprint.auth}",
        inputs="{type: object}",
        step="last",
    )
    document, problems = form.read(source.parse(text))

    assert problems == []
    assert document is not None
    assert document.concurrency is not None
    assert document.concurrency.key == "deploy-$inputs.blueprint.auth"
    assert document.outputs == {"auth": "$inputs.blueprint.auth"}
