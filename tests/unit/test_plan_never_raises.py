"""Whatever is sent as a plan comes back as problems with places, never as an exception."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.plans.domain import document as documents
from orchestration.plans.domain import form, source, validation
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.problem import CODES, ERROR
from orchestration.skills import installed

ENTRIES = {
    contract.slug: CatalogEntry(contract, "active", "0" * 64, True, True, contract.slug)
    for contract in installed.contracts()
}
ROUNDS = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck)
)


class BuiltIn:
    """A registry that holds the built-in skills."""

    def find(self, slug, version):
        found = ENTRIES.get(slug)
        return found if found and version in {None, found.contract.version} else None

    def known_versions(self, slug):
        return [ENTRIES[slug].contract.version] if slug in ENTRIES else []

    def slugs(self):
        return sorted(ENTRIES)


def problems_of(text, inputs=None):
    """Parse, read and validate; a plan without errors must survive its storage."""
    parsed = source.parse(text)
    document, found = form.read(parsed)
    problems = list(found)
    if document is not None:
        problems += validation.validate(
            document,
            parsed.positions,
            catalog=BuiltIn(),
            inputs=inputs,
            groups={"operator": 2},
        ).problems
    if document is not None and all(one.severity != ERROR for one in problems):
        stored = json.loads(json.dumps(documents.normal_form(document)))
        assert documents.from_normal_form(stored) == document
        assert len(documents.digest(document)) == 64
    return problems


def assert_each_is_explained_and_placed(problems):
    for problem in problems:
        assert problem.code in CODES
        assert problem.message
        assert (problem.line or 0) >= 1, problem
        assert (problem.column or 0) >= 1, problem


WORDS = st.sampled_from(
    ["$s.output", "$x.output", "$inputs.a", "$self.params.name", "$run.id", "$$", "$",
     "$s.files.collected", "${a-b.output.c}", "skill", "approval", "git-operations",
     "files", "s", "t", "create-branch", "1m", "operator", "object", "string"]
)  # fmt: skip
KEYS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["$file", "$secret", "$ref", "name", "group", "count", "type", "properties",
         "pattern", "required", "items", "action", "params", "attempts", "max"]
    ),
)  # fmt: skip
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        WORDS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)
ACTIONS = st.sampled_from(
    [(entry.contract.slug, action.name) for entry in ENTRIES.values()
     for action in entry.contract.actions]
)  # fmt: skip
PARAMS = st.dictionaries(
    st.sampled_from(
        ["name", "from", "pattern", "file", "to", "sources", "sql", "value", "branch",
         "files", "message", "issue", "status", "url", "rows"]
    ),
    JSON, max_size=4,
)  # fmt: skip
STEPS = st.builds(
    lambda action, fields: {"skill": action[0], "action": action[1], **fields},
    ACTIONS,
    st.fixed_dictionaries(
        {"id": st.sampled_from(["s", "t", "u"])},
        optional={
            "params": PARAMS,
            "dependsOn": st.lists(st.sampled_from(["s", "t", "u"]), max_size=2),
            "rollback": st.fixed_dictionaries(
                {},
                optional={
                    "action": st.sampled_from(["delete-branch", "unpublish", "tag", "x"]),
                    "params": PARAMS,
                },
            ),
        }
        | dict.fromkeys(("kind", "version", "triggerRule", "approval", "retry", "timeout", "when"), JSON),
    ),
)  # fmt: skip
PLANS = st.builds(
    lambda plan: {"plan": plan},
    st.fixed_dictionaries(
        {"id": st.just("a"), "steps": st.one_of(st.lists(STEPS, max_size=4), JSON)},
        optional=dict.fromkeys(
            ("inputs", "parallel", "onFailure", "name", "description"), JSON
        ),
    ),
)


@ROUNDS
@given(st.one_of(st.text(), st.binary(), st.text("{}[]:,-?&*!|>'\"%#@ \n\tplan0~$")))
def test_any_text_returns_problems(text) -> None:
    assert_each_is_explained_and_placed(problems_of(text))


@ROUNDS
@given(st.one_of(JSON, PLANS), st.none() | st.dictionaries(st.text(max_size=3), JSON))
def test_any_json_value_returns_problems(value, inputs) -> None:
    assert_each_is_explained_and_placed(problems_of(json.dumps(value), inputs))


def a_plan(step="", plan="") -> str:
    return f"plan: {{id: a{plan}, steps: [{{id: g, skill: noop, action: pass{step}}}]}}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(a_plan(", kind: []"), "plan.wrong_type", id="kind is a list"),
        pytest.param(a_plan(", kind: {}"), "plan.wrong_type", id="kind is an object"),
        pytest.param(
            a_plan(plan=", inputs: {x: {pattern: []}}"),
            "",
            id="odd pattern, unknown key",
        ),
        pytest.param(
            a_plan(plan=", inputs: {properties: {a: {x: {pattern: {}}}}}"),
            "",
            id="odd pattern, deeper",
        ),
        pytest.param(
            a_plan(", params: {value: $x.output}"),
            "plan.reference_unknown",
            id="a whole reference to an unknown step",
        ),
        pytest.param(
            '{"plan": {"id": "a\\u0000"}}', "plan.not_text", id="NUL by escape"
        ),
    ],
)
def test_former_crashes_return_problems(text, code) -> None:
    problems = problems_of(text)

    assert_each_is_explained_and_placed(problems)
    assert not code or code in {problem.code for problem in problems}


def test_deeply_nested_inputs_are_refused() -> None:
    value = json.loads("[" * 900 + "]" * 900)
    text = a_plan(plan=", inputs: {properties: {a: {}}}")

    codes = {problem.code for problem in problems_of(text, {"a": value})}

    assert "plan.input_invalid" in codes


@pytest.mark.parametrize(
    "pattern", ["(x?){40}x{40}[yz]", "(?:a?a?){20}c", r"(\w\w?){60}!"]
)
def test_a_pattern_that_makes_backtracking_explode_returns_problems(pattern) -> None:
    inputs = {"properties": {"a": {"type": "string", "pattern": pattern}}}
    plan = {"id": "a", "inputs": inputs, "steps": [{"id": "g", "kind": "approval"}]}

    problems = problems_of(json.dumps({"plan": plan}), {"a": "x" * 5_000})

    assert {problem.code for problem in problems} == {"plan.input_invalid"}
