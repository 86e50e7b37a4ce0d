"""Validation: graph, registry, references, params, undo and gates."""

import time

import pytest

from orchestration.plans.domain import form, source, validation
from orchestration.plans.domain.problem import CODES
from tests.unit.plans import FOLDER, HEAD, YIELD, Registry, check, places


def codes(*steps: str, **around) -> list[str]:
    """Return the problem codes of a plan of these steps."""
    return [
        one.code
        for one in check(HEAD + "".join(f"- {{{s}}}\n" for s in steps), **around)
    ]


SECOND = "id: b, skill: lab, dependsOn: [a]"


def test_the_example_of_the_source_validates_unchanged() -> None:
    assert check((FOLDER / "feature.yaml").read_text(), inputs={}, groups={}) == []


def test_the_flow_patterns_of_the_source_validate() -> None:
    assert check((FOLDER / "angles.yaml").read_text()) == []


@pytest.mark.parametrize(
    ("steps", "code", "line"),
    [
        pytest.param(["id: a, skill: lab, action: yield, dependsOn: [a]"],
                     "plan.self_reference", 3, id="depends on itself"),
        pytest.param(["id: a, skill: lab, action: yield, dependsOn: [zz]"],
                     "plan.unknown_step", 3, id="unknown dependency"),
        pytest.param([YIELD + ", dependsOn: [b]", SECOND + ", action: yield"],
                     "plan.cycle", 3, id="cycle"),
        pytest.param(["id: a, skill: lba, action: ask"], "plan.unknown_skill", 3,
                     id="unknown skill"),
        pytest.param(["id: a, skill: lab, version: '9', action: ask"],
                     "plan.unknown_version", 3, id="unknown version"),
        pytest.param(["id: a, skill: lab, action: aks"], "plan.unknown_action", 3,
                     id="unknown action"),
        pytest.param([YIELD, "id: b, skill: lab, action: ask, params: {prompt: $a.output}"],
                     "plan.reference_not_ancestor", 4, id="not an ancestor"),
        pytest.param(["id: a, skill: lab, action: ask, params: {prompt: $a.output}"],
                     "plan.self_reference", 3, id="refers to itself"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: $zz.output}"],
                     "plan.reference_unknown", 4, id="unknown step"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: $a.result}"],
                     "plan.reference_unknown", 4, id="neither output nor files"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: $a.output.nn}"],
                     "plan.reference_unknown", 4, id="no such field"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: $a.output.n.x}"],
                     "plan.reference_unknown", 4, id="field of a number"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: $a.output.rows.0.b}"],
                     "plan.reference_unknown", 4, id="field of an item"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: $a.files.chart}"],
                     "plan.reference_unknown", 4, id="no such file"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: 'x $HOME'}"],
                     "plan.reference_unknown", 4, id="a dollar too few"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: '${a.output'}"],
                     "plan.reference_unknown", 4, id="brace left open"),
        pytest.param(["id: a, skill: lab, action: ask, params: {prompt: $inputs.x}"],
                     "plan.reference_unknown", 3, id="no such input"),
        pytest.param(["id: a, skill: lab, action: ask, params: {prompt: $run.state}"],
                     "plan.reference_unknown", 3, id="of the run only its id"),
        pytest.param(["id: a, skill: lab, action: ask, params: {prompt: $self.output}"],
                     "plan.reference_unknown", 3, id="self outside an undo"),
        pytest.param(["id: a, skill: lab, action: ask"], "plan.param_invalid", 3,
                     id="missing param"),
        pytest.param(["id: a, skill: lab, action: yield, params: {m: 1}"],
                     "plan.param_invalid", 3, id="unknown param"),
        pytest.param(["id: a, skill: lab, action: yield, params: {n: 0}"],
                     "plan.param_invalid", 3, id="param out of bounds"),
        pytest.param([YIELD, SECOND + ", action: yield, params: {n: 'x$a.output.n'}"],
                     "plan.param_invalid", 4, id="text where a number is wanted"),
        pytest.param([YIELD, SECOND + ", action: yield, params: {n: $a.output.text}"],
                     "plan.type_mismatch", 4, id="text reference for a number"),
        pytest.param([YIELD, SECOND + ", action: take, params: {file: $a.output.n}"],
                     "plan.type_mismatch", 4, id="number for a file"),
        pytest.param([YIELD, SECOND + ", action: take, params: {file: $a.output}"],
                     "plan.type_mismatch", 4, id="an output that is no file"),
        pytest.param([YIELD, SECOND + ", action: yield, params: {n: $a.files.table}"],
                     "plan.type_mismatch", 4, id="file for a number"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: 'see $a.files.table'}"],
                     "plan.type_mismatch", 4, id="file in a text"),
        pytest.param(["id: a, skill: lab, action: take, params: {file: {$file: {sha256: x}}}"],
                     "plan.reserved_key", 3, id="forged file"),
        pytest.param(["id: a, skill: lab, action: ask, params: {prompt: {$secret: key}}"],
                     "plan.param_invalid", 3, id="secret"),
        pytest.param(["id: a, skill: lab, action: choose, params: {either: {b: $run.id}}"],
                     "plan.param_invalid", 3, id="no alternative fits"),
        pytest.param(["id: a, skill: lab, action: yield, rollback: {}"],
                     "plan.undo_missing", 3, id="no undo of its own"),
        pytest.param(["id: a, skill: lab, action: yield, rollback: {action: gone}"],
                     "plan.undo_missing", 3, id="unknown undo"),
        pytest.param([("id: a, skill: git-operations, action: create-branch, params: {name: x},"
                      " rollback: {params: {nmae: x}}")],
                     "plan.param_invalid", 3, id="params of the undo"),
        pytest.param([("id: a, skill: git-operations, action: create-branch, params: {name: x},"
                      " rollback: {params: {name: $self.output.brnach}}")],
                     "plan.reference_unknown", 3, id="field of the undone step"),
        pytest.param([("id: a, skill: git-operations, action: create-branch, params: {name: x},"
                      " rollback: {params: {name: $self.output.commits}}")],
                     "plan.type_mismatch", 3, id="type in the undo"),
        pytest.param([("id: a, skill: git-operations, action: create-branch, params: {name: x},"
                      " rollback: {params: {name: $self.params.start}}")],
                     "plan.reference_unknown", 3, id="param that was not given"),
    ],
)  # fmt: skip
def test_an_invalid_plan_is_reported_with_codes_and_lines(steps, code, line) -> None:
    problems = check(HEAD + "".join(f"- {{{step}}}\n" for step in steps))

    assert (code, line) in [(one.code, one.line) for one in problems]
    assert {one.code for one in problems} <= set(CODES)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([YIELD, SECOND + ", action: take, params: {file: $a.files.table}"],
                     id="file"),
        pytest.param([YIELD, SECOND + ", action: yield, params: {n: $a.output.n}"],
                     id="same type"),
        pytest.param([YIELD, SECOND + ", action: yield, params: {n: $a.output.rows.0.a}"],
                     id="a number may be whole"),
        pytest.param([YIELD, SECOND + ", action: choose, params: {either: {a: $a.output.text}}"],
                     id="an alternative fits"),
        pytest.param([YIELD, SECOND + ", action: ask, params: {prompt: '$$HOME $5'}"],
                     id="dollars"),
        pytest.param([YIELD, "id: m, skill: lab, action: ask, dependsOn: [a], params: {prompt: x}",
                      "id: b, skill: lab, action: ask, dependsOn: [m], params: {prompt: $a.output}"],
                     id="ancestor at two removes"),
        pytest.param([("id: a, skill: git-operations, action: create-branch, params: {name: x},"
                      " rollback: {params: {name: $a.output.branch}}")],
                     id="own output in the undo"),
        pytest.param(["id: a, kind: approval", ("id: b, skill: lab, action: ask,"
                      " dependsOn: [a], params: {prompt: $a.output.approved}")],
                     id="answer of people"),
    ],
)  # fmt: skip
def test_a_valid_plan_has_no_problems(steps) -> None:
    assert check(HEAD + "".join(f"- {{{step}}}\n" for step in steps)) == []


def test_problems_point_at_the_exact_value() -> None:
    text = (
        "plan:\n  id: p\n  steps:\n"
        "    - id: a\n      skill: lab\n      action: yield\n"
        "      depends_on:\n        - gone\n"
        "      params:\n        n: 1\n        rows:\n          - $gone.output\n"
    )

    assert places(check(text)) == [
        ("plan.unknown_step", 8, 11),
        ("plan.reference_unknown", 12, 13),
    ]


def test_the_nearest_name_is_suggested() -> None:
    text = (
        HEAD
        + "- {id: a, skill: git-operation, action: x}\n- {id: b, skill: lab, action: aks}"
    )

    said = [one.message for one in check(text)]

    assert "Did you mean 'git-operations'?" in said[0]
    assert "Did you mean 'ask'?" in said[1]


def test_every_cycle_names_its_steps() -> None:
    text = HEAD + "".join(
        f"- {{id: {one}, skill: lab, action: yield, dependsOn: [{other}]}}\n"
        for one, other in ["ab", "ba", "xy", "yx", "cb"]
    )

    found = [(one.step, one.message) for one in check(text) if one.code == "plan.cycle"]

    assert [step for step, _ in found] == ["a", "b", "x", "y"]
    assert "a -> b" in found[0][1]
    assert "x -> y" in found[2][1]


@pytest.mark.parametrize(
    ("changes", "code", "severity"),
    [
        ({"state": "quarantined"}, "plan.skill_quarantined", "error"),
        ({"state": "draft"}, "plan.skill_not_active", "error"),
        ({"state": "deprecated"}, "plan.skill_deprecated", "warning"),
        ({"may_propose": False}, "plan.skill_not_permitted", "error"),
        ({"available": False}, "plan.skill_unavailable", "error"),
    ],
)
def test_the_state_of_a_skill_is_reported(changes, code, severity) -> None:
    found = check(f"{HEAD}- {{{YIELD}}}", registry=Registry(**changes))

    assert [(one.code, one.severity, one.line) for one in found] == [
        (code, severity, 3)
    ]


def test_a_valid_plan_is_pinned_to_versions_in_its_order() -> None:
    parsed = source.parse((FOLDER / "feature.yaml").read_text())
    document, _ = form.read(parsed)
    assert document is not None

    found = validation.validate(
        document, parsed.positions, catalog=Registry(), inputs={}, groups=None
    )

    assert found.order == ["step-1", "step-2"]
    assert found.pins["step-1"] == {
        "version_id": "id-git-operations",
        "skill": "git-operations",
        "version": "1.0.0",
        "digest": "d" * 64,
        "action": "create-branch",
    }


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        pytest.param(None, [], id="not known"),
        pytest.param({"sre": 2, "ops": 1}, [], id="enough"),
        pytest.param({"sre": 1, "ops": 1}, ["plan.gate_unsatisfiable"], id="too few"),
        pytest.param({"sre": 2}, ["plan.unknown_group"], id="unknown group"),
    ],
)
def test_gates_that_no_one_can_satisfy_are_reported(groups, expected) -> None:
    step = YIELD + ", approval: {groups: [{group: sre, count: 2}, ops]}"

    assert codes(step, groups=groups) == expected


def test_the_reason_of_a_gate_may_contain_references() -> None:
    asks = "id: b, kind: approval, dependsOn: [a], approval: {reason: 'Send $a.output.n%s?'}"

    assert codes(YIELD, asks % "") == []
    assert codes(YIELD, asks % " $zz.output") == ["plan.reference_unknown"]


def test_a_thousand_steps_are_validated_in_time() -> None:
    text = "id: p\nsteps:\n" + "".join(
        f"- {{id: s{i}, skill: lab, action: yield, params: {{n: $s{max(0, i - 1)}.output.n}},"
        f" dependsOn: [{', '.join(f's{j}' for j in range(max(0, i - 3), i))}]}}\n"
        if i
        else "- {id: s0, skill: lab, action: yield}\n"
        for i in range(1000)
    )
    parsed = source.parse(text)
    document, _ = form.read(parsed)
    assert document is not None

    before = time.process_time()
    found = validation.validate(
        document, parsed.positions, catalog=Registry(), inputs={}, groups={}
    )

    assert time.process_time() - before < 1.5
    assert found.problems == []
    assert len(found.order) == 1000
