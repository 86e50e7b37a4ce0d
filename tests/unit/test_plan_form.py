"""The form of a plan: spellings, defaults, one normal form, and what is refused."""

import json
from dataclasses import replace
from unittest.mock import MagicMock, Mock

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from execfabric.lib import canonical
from orchestration.plans.domain import document as documents
from orchestration.plans.domain import form, source
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.joins import AtLeast, RuleDocument
from orchestration.plans.domain.parts import (
    ApprovalDocument,
    GroupCount,
    Parallel,
    RollbackDocument,
)
from orchestration.plans.domain.problem import MAX_PROBLEMS
from orchestration.plans.errors import PlanUnreadable
from orchestration.skills.domain.contract import RetryRule
from tests.unit.plans import FOLDER, places, plan, read

STEP = "{id: a, skill: lab, action: ask}"


def test_yaml_and_json_in_any_spelling_have_one_digest() -> None:
    in_yaml = plan((FOLDER / "feature.yaml").read_text())
    in_json = plan((FOLDER / "feature.json").read_text())

    assert documents.normal_form(in_yaml) == documents.normal_form(in_json)
    assert documents.digest(in_yaml) == documents.digest(in_json)


def test_the_outer_plan_key_is_optional() -> None:
    assert plan(f"plan: {{id: p, steps: [{STEP}]}}") == plan(f"id: p\nsteps: [{STEP}]")


def test_the_normal_form_leaves_out_defaults() -> None:
    text = """
        id: p
        parallel: false
        onFailure: pause
        steps:
          - {id: a, kind: skill, skill: lab, action: ask, params: {}, dependsOn: [],
              triggerRule: all_success, approval: false}
    """

    assert documents.normal_form(plan(text)) == {
        "id": "p",
        "name": "p",
        "steps": [{"id": "a", "skill": "lab", "action": "ask"}],
    }


def test_every_key_is_read() -> None:
    found = plan(
        """
        id: p
        name: P
        description: D
        inputs: {type: object}
        parallel: {max: 3}
        on_failure: abort
        steps:
          - id: a
            name: A
            skill: lab@1.0.0
            action: ask
            params: {prompt: [1, {x: y}]}
            rollback: {action: undo, params: {}}
            retry: {attempts: 3, backoff: constant, initial: 500ms, max: 1m}
            timeout: 1h30m
            approval: {reason: R, groups: [ops, {group: sre, count: 2}], expires_in: 2d}
          - {id: b, kind: approval, depends_on: [a], trigger_rule: all_done}
        """
    )

    assert found == PlanDocument(
        id="p",
        name="P",
        description="D",
        inputs_schema={"type": "object"},
        parallel=Parallel(3),
        on_failure="abort",
        steps=(
            StepDocument(
                id="a",
                name="A",
                skill="lab",
                version="1.0.0",
                action="ask",
                params={"prompt": [1, {"x": "y"}]},
                rollback=RollbackDocument("undo", {}),
                retry=RetryRule(3, "constant", 0.5, 60.0),
                timeout_s=5400.0,
                approval=ApprovalDocument(
                    "R", (GroupCount("ops", 1), GroupCount("sre", 2)), 172800.0
                ),
            ),
            StepDocument(
                id="b", kind="approval", depends_on=("a",), trigger_rule="all_done"
            ),
        ),
    )


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        pytest.param("~", "plan.wrong_type", 1, 1, id="null"),
        pytest.param("[]", "plan.wrong_type", 1, 1, id="a list"),
        pytest.param("plan: 3", "plan.wrong_type", 1, 1, id="a number"),
        pytest.param("id: p", "plan.no_steps", 1, 1, id="no steps"),
        pytest.param("id: p\nsteps: []", "plan.no_steps", 1, 1, id="empty steps"),
        pytest.param(f"steps: [{STEP}]", "plan.missing_key", 1, 1, id="no id"),
        pytest.param(f"id: p q\nsteps: [{STEP}]", "plan.wrong_value", 1, 1, id="bad id"),
        pytest.param(f"id: 3\nsteps: [{STEP}]", "plan.wrong_type", 1, 1, id="number"),
        pytest.param(
            f"id: p\nstep: 1\nsteps: [{STEP}]", "plan.unknown_key", 2, 1, id="unknown"
        ),
        pytest.param(
            f"plan: {{id: p, steps: [{STEP}]}}\nx: 1", "plan.unknown_key", 2, 1, id="outer"
        ),
        pytest.param(
            f"id: p\nonFailure: explode\nsteps: [{STEP}]", "plan.wrong_value", 2, 1,
            id="unknown onFailure",
        ),
        pytest.param(
            f"id: p\nparallel: 3\nsteps: [{STEP}]", "plan.wrong_type", 2, 1, id="parallel"
        ),
        pytest.param(
            f"id: p\nparallel: {{max: 0}}\nsteps: [{STEP}]", "plan.wrong_type", 2, 12,
            id="parallel of none",
        ),
        pytest.param("id: p\nsteps: [3]", "plan.wrong_type", 2, 9, id="step"),
        pytest.param(
            f"id: p\nsteps:\n- {STEP}\n- {STEP}", "plan.duplicate_step", 4, 4, id="twice"
        ),
    ],
)  # fmt: skip
def test_an_invalid_plan_is_refused_with_its_position(text, code, line, column) -> None:
    _, problems = read(text)

    assert (code, line, column) in places(problems)


@pytest.mark.parametrize(
    ("written", "code", "column"),
    [
        pytest.param("id: self, skill: s, action: a", "plan.reserved_id", 4, id="self"),
        pytest.param("id: 1a, skill: s, action: a", "plan.wrong_value", 4, id="digit"),
        pytest.param("id: a, action: a", "plan.missing_key", 3, id="no skill"),
        pytest.param("id: a, skill: '', action: a", "plan.missing_key", 3, id="empty"),
        pytest.param("id: a, skill: '@1', action: a", "plan.missing_key", 3, id="@"),
        pytest.param("id: a, skill: s", "plan.missing_key", 3, id="no action"),
        pytest.param("id: a, kind: approval, skill: s", "plan.unknown_key", 27, id="both"),
        pytest.param("id: a, kind: question", "plan.wrong_value", 11, id="kind not yet"),
        pytest.param(
            "id: a, skill: s, action: a, version: 1.0", "plan.wrong_type", 32, id="float"
        ),
        pytest.param(
            "id: a, skill: s, action: a, when: 5", "plan.wrong_type", 32, id="number"
        ),
        pytest.param(
            "id: a, skill: s, action: a, timeout: soon", "plan.wrong_type", 32, id="time"
        ),
        pytest.param(
            "id: a, skill: s, action: a, timeout: 0", "plan.wrong_type", 32, id="no time"
        ),
        pytest.param(
            "id: a, skill: s, action: a, timeout: 367d", "plan.wrong_type", 32, id="year"
        ),
        pytest.param(
            "id: a, skill: s, action: a, dependsOn: b", "plan.wrong_type", 32, id="text"
        ),
        pytest.param(
            "id: a, skill: s, action: a, dependsOn: [], depends_on: []",
            "plan.duplicate_key", 47, id="two spellings",
        ),
        pytest.param(
            "id: a, skill: s, action: a, triggerRule: {atLeast: x}",
            "plan.wrong_type", 32, id="at least",
        ),
        pytest.param(
            "id: a, skill: s, action: a, retry: {attempts: true}", "plan.wrong_type", 40,
            id="boolean count",
        ),
        pytest.param(
            "id: a, skill: s, action: a, approval: {groups: [3]}", "plan.wrong_type", 52,
            id="group",
        ),
    ],
)  # fmt: skip
def test_an_invalid_step_is_refused_with_its_position(written, code, column) -> None:
    _, problems = read(f"id: p\nsteps:\n- {{{written}}}")

    assert (code, 3, column) in places(problems)


@pytest.mark.parametrize(
    "key",
    ["onSuccess", "choose"],
)
def test_an_unsupported_key_is_named(key) -> None:
    _, problems = read(f"id: p\nsteps: [{{id: a, skill: s, action: a, {key}: []}}]")

    assert [one.code for one in problems] == ["plan.unknown_key"]
    assert repr(key) in problems[0].message


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "part",
    [
        "rollback: {id: x}",
        "approval: {id: x}",
        "approval: {groups: [{group: g, id: x}]}",
        "retry: {id: x}",
    ],
)
def test_an_id_where_none_belongs_is_one_problem(part) -> None:
    _, problems = read(f"id: p\nsteps:\n- {{id: a, skill: s, action: x, {part}}}")
    _, of_plan = read(
        "id: p\nparallel: {id: x}\nsteps:\n- {id: a, skill: s, action: x}"
    )

    assert [problem.code for problem in problems] == ["plan.unknown_key"]
    assert [problem.code for problem in of_plan] == ["plan.unknown_key"]


@pytest.mark.parametrize("value", ["false", "{}", "0"])
@pytest.mark.parametrize("key", ["dependsOn", "version"])
def test_a_value_of_the_wrong_type_is_refused(key, value) -> None:
    _, problems = read(
        f"id: p\nsteps:\n- {{id: a, skill: s, action: x, {key}: {value}}}"
    )

    assert [problem.code for problem in problems] == ["plan.wrong_type"]


def test_a_text_is_no_list_of_steps() -> None:
    _, problems = read("id: p\nsteps:\n- {id: a, skill: s, action: x, dependsOn: ''}")

    assert [problem.code for problem in problems] == ["plan.wrong_type"]


def test_the_other_spelling_of_a_key_costs_as_many_look_ups_as_it_has_items() -> None:
    parsed = source.parse(
        "id: p\nsteps:\n- {id: a, skill: s, action: x, depends_on: [b, c]}"
    )
    looks = Mock(wraps=parsed.positions.get)
    parsed = replace(parsed, positions=MagicMock(wraps=parsed.positions, get=looks))

    form.read(parsed)

    assert 0 < looks.call_count < 20


def test_a_misspelt_key_gets_a_suggestion() -> None:
    _, problems = read("id: p\nsteps: [{id: a, skill: s, action: a, dependOn: []}]")

    assert "Did you mean 'dependsOn'?" in problems[0].message


def test_all_problems_are_reported_in_text_order() -> None:
    _, problems = read("nmae: x\nsteps:\n- {id: a, skil: s}\n- {id: b c}\n")

    assert len(problems) >= 6
    assert [one.line for one in problems] == sorted(one.line for one in problems)


def test_a_long_list_of_problems_is_cut_but_keeps_an_error() -> None:
    text = "id: p\nsteps: [" + "{x: \u202e}," * 1000 + "]"

    _, problems = read(text)

    assert len(problems) <= MAX_PROBLEMS + 2
    assert any(one.code == "plan.too_many_problems" for one in problems)
    assert any(one.severity == "error" for one in problems)


def test_positions_are_right_after_an_invalid_step() -> None:
    text = "id: p\nsteps:\n- 3\n- {id: a, skill: s, action: a}\n"

    document, _ = read(text)

    assert document is not None
    assert document.steps[0].index == 1


NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
SECONDS = st.floats(0.001, 1e6)
APPROVALS = st.builds(
    ApprovalDocument,
    TEXTS,
    st.lists(st.builds(GroupCount, NAMES, st.integers(1, 9)), max_size=2).map(tuple),
    st.none() | SECONDS,
)
TARGETS = st.lists(NAMES, max_size=2).map(tuple)
RULES = st.builds(RuleDocument, st.just("inputs.x > 1"), TARGETS) | st.builds(
    RuleDocument, st.none(), st.none(), TARGETS
)
STEPS = st.builds(
    StepDocument,
    id=NAMES,
    kind=st.sampled_from(["skill", "approval"]),
    name=TEXTS,
    skill=NAMES,
    version=st.none() | NAMES,
    action=NAMES,
    params=OBJECTS,
    depends_on=st.lists(NAMES, max_size=3, unique=True).map(tuple),
    trigger_rule=st.sampled_from(["all_success", "one_success", "all_done"])
    | st.builds(AtLeast, st.integers(1, 9)),
    when=st.just("") | st.just("inputs.x > 1"),
    choose=st.lists(RULES, max_size=2).map(tuple),
    rollback=st.none()
    | st.builds(RollbackDocument, st.just("") | NAMES, st.none() | OBJECTS),
    approval=st.none() | APPROVALS,
    retry=st.none()
    | st.builds(RetryRule, st.integers(1, 9), st.just("constant"), SECONDS, SECONDS),
    timeout_s=st.none() | SECONDS,
)
PLANS = st.builds(
    PlanDocument,
    id=NAMES,
    name=NAMES,
    description=TEXTS,
    inputs_schema=st.none() | OBJECTS,
    parallel=st.none() | st.builds(Parallel, st.none() | st.integers(1, 9)),
    on_failure=st.sampled_from(["pause", "abort", "continue"]),
    steps=st.lists(STEPS, min_size=1, max_size=4).map(tuple),
)


@given(PLANS)
@settings(max_examples=150, deadline=None)
def test_the_normal_form_is_complete_and_survives_storage(document) -> None:
    body = canonical.dumps(documents.normal_form(document))

    again = documents.from_normal_form(canonical.loads(body))

    assert again == document
    assert documents.digest(again) == documents.digest(document)


@pytest.mark.parametrize("stored", [[], "x", 5, None])
def test_a_stored_plan_that_is_no_object_is_refused(stored) -> None:
    with pytest.raises(PlanUnreadable):
        documents.from_normal_form(stored)


@given(PLANS)
@settings(max_examples=100, deadline=None)
def test_the_normal_form_can_be_read_as_a_plan(document) -> None:
    steps = {
        f"{index}-{one.id}": replace(one, id=f"s{index}", choose=())
        for index, one in enumerate(document.steps)
        if one.kind == "skill"
    }
    assume(steps)
    written = replace(document, steps=tuple(steps.values()))

    again, problems = read(json.dumps(documents.normal_form(written)))

    assert [one for one in problems if one.severity == "error"] == []
    assert again is not None
    assert documents.digest(again) == documents.digest(written)


def test_a_duplicate_spelling_names_both_keys() -> None:
    text = "id: p\nsteps: [{id: a, skill: s, action: a, depends_on: [], dependsOn: []}]"

    _, problems = read(text)

    assert [(one.code, one.step, one.message) for one in problems] == [
        (
            "plan.duplicate_key",
            "a",
            "Duplicate key 'dependsOn': it repeats 'depends_on'.",
        )
    ]
