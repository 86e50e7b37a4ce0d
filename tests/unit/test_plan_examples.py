"""The language reference, the published schema and the code say the same."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from orchestration.plans.domain import document as documents
from orchestration.plans.domain import schema, source
from orchestration.plans.domain.form import PLAN_KEYS, SPELLINGS, STEP_KEYS
from orchestration.plans.domain.problem import CODES, ERROR
from tests.unit.plans import FOLDER, plan, read

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/plan-language.md").read_text()
SCHEMA = json.loads((ROOT / "static/execfabric/schemas/plan-v1.json").read_text())
SHAPE = Draft202012Validator(SCHEMA)
EXAMPLES = [
    body
    for body in re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
    if body.startswith("plan:")
]
PLANS = ROOT / "orchestration/plans"
SHIPPED = sorted([*PLANS.glob("examples/*.yaml"), *PLANS.glob("packs/*/*.yaml")])
FIXTURES = sorted([*FOLDER.glob("*.yaml"), *FOLDER.glob("*.json")])


def test_the_reference_has_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.split()[2])
def test_every_example_of_the_reference_is_a_plan(text) -> None:
    document = plan(text)

    assert SHAPE.is_valid(source.parse(text).value)
    assert documents.from_normal_form(documents.normal_form(document)) == document


@pytest.mark.parametrize("path", [*SHIPPED, *FIXTURES], ids=lambda path: path.name)
def test_every_plan_file_has_the_published_shape(path) -> None:
    text = path.read_text()

    assert list(SHAPE.iter_errors(source.parse(text).value)) == []
    assert SHAPE.is_valid(documents.normal_form(plan(text)))


def test_the_published_schema_is_the_generated_one() -> None:
    # Update it: python -m orchestration.plans.domain.schema > static/...
    assert schema.published() == SCHEMA


def test_the_published_schema_is_a_schema_and_knows_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    known = SCHEMA["$defs"]
    spellings = {**{new: old for old, new in SPELLINGS.items()}}

    for name, keys in (("PlanDocument", PLAN_KEYS), ("StepDocument", STEP_KEYS)):
        both = {*keys, *(spellings[key] for key in keys if key in spellings)}
        assert set(known[name]["properties"]) == both


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "id: p",
        "id: p\nsteps: []",
        "steps: [{id: a, skill: s, action: a}]",
        "id: p\nsteps: [{id: a, skill: s}]",
        "id: p\nsteps: [{id: 1a, skill: s, action: a}]",
        "id: p\nsteps: [{id: self, skill: s, action: a}]",
        "id: p\nsteps: [{id: a, skill: s, action: a, when: 5}]",
        "id: p\nsteps: [{id: a, kind: approval, skill: s}]",
        "id: p\nsteps: [{id: a, kind: plan}]",
        "id: p\nsteps: [{id: a, skill: s, action: a, timeout: soon}]",
        "id: p\nsteps: [{id: a, skill: s, action: a, timeout: 0}]",
        "id: p\nsteps: [{id: a, skill: s, action: a, retry: {attempts: 0}}]",
        "id: p\nparallel: {max: 0}\nsteps: [{id: a, skill: s, action: a}]",
        "id: p\nonFailure: explode\nsteps: [{id: a, skill: s, action: a}]",
        "plan: {id: p, steps: [{id: a, skill: s, action: a}]}\nx: 1",
    ],
)
def test_schema_and_reader_refuse_the_same(text) -> None:
    _, problems = read(text)

    assert any(one.severity == ERROR for one in problems)
    assert not SHAPE.is_valid(source.parse(text).value)


def test_the_reference_explains_every_code_in_the_code_s_words() -> None:
    listed = dict(
        re.findall(r"^\| `(plan\.[a-z_]+)` \| (.*) \|$", REFERENCE, re.MULTILINE)
    )

    assert listed == dict(CODES)


def test_the_reference_names_every_key() -> None:
    for key in (*PLAN_KEYS, *STEP_KEYS):
        assert f"`{key}`" in REFERENCE
