"""Checking and dry-running a plan against the real registry: all problems, no effects."""

import json

import pytest
from django.contrib.auth.models import Group
from guardian.shortcuts import remove_perm

from audit.models import Event
from execfabric.identity.errors import RightMissing
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.plans.models import Plan
from orchestration.plans.services import check as checks
from orchestration.runs.control import dry_runs
from orchestration.runs.models import Run
from orchestration.skills.domain.states import SkillEvent
from orchestration.skills.models import Skill
from orchestration.skills.services import registry as skills
from tests.builders import carried_out, plan, step

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

FEATURE = """\
plan:
  id: feature
  name: A feature branch
  inputs:
    properties:
      issue: {type: string, pattern: '^[A-Z]+-[0-9]+$'}
      base: {type: string, default: main}
    required: [issue]
  steps:
    - {id: look, skill: lab, action: echo, params: {value: $inputs.issue}}
    - id: make
      skill: lab
      action: risky
      dependsOn: [look]
      params: {name: 'feature/$look.output.value', from: $inputs.base}
      rollback: {action: echo, params: {name: $self.params.name}}
    - id: sure
      kind: approval
      depends_on: [make]
      approval: {reason: Shall it be told?}
"""
INPUTS = {"issue": "AB-12"}


def check(text, by, inputs=None):
    return checks.check(text=text, inputs=inputs, by=by.actor())


def dry_run(text, by, inputs=None):
    """Return the stored report of a plan without errors."""
    queued = dry_runs.request(
        text=text, inputs=inputs or {}, by=by.actor(), at=clock.now()
    )
    assert carried_out(queued.id)
    queued.refresh_from_db()
    return queued.report


def found(text, by, inputs=None):
    """Code, step and severity of every problem."""
    problems = check(text, by, inputs).problems
    return [(one.code, one.step, one.severity) for one in problems]


def set_state(event, admin, slug="lab"):
    skills.set_state(
        slug=slug, event=event, reason="For a test.", by=admin.actor(), at=clock.now()
    )


def withdraw(permission, slug="lab"):
    for group in Group.objects.all():
        remove_perm(f"skills.{permission}", group, Skill.objects.get(slug=slug))


@pytest.mark.promise("S1.11", "S1.12", "S1.13", "S1.14", "S1.15", "S1.16", "S1.17")
def test_a_plan_shows_its_steps_the_tools_they_need_and_their_risks(proposer) -> None:
    checked = check(FEATURE, proposer, INPUTS)

    assert checked.problems == []
    assert (checked.document.id, checked.document.name) == (
        "feature",
        "A feature branch",
    )
    assert checked.order == ["look", "make", "sure"]
    make = checked.document.by_id["make"]
    assert (make.skill, make.action, make.depends_on) == ("lab", "risky", ("look",))
    assert make.params["from"] == "$inputs.base"
    assert make.rollback.action == "echo"
    needed = {key: (pin["skill"], pin["version"]) for key, pin in checked.pins.items()}
    assert needed == {"look": ("lab", "1.0.0"), "make": ("lab", "1.0.0")}
    assert [(gate.step, gate.reasons) for gate in checked.gates[1:]] == [
        ("make", ("The risk of lab risky is high.",)),
        ("sure", ("Shall it be told?",)),
    ]


@pytest.mark.promise("S1.18")
def test_check_and_dry_run_store_and_change_nothing(proposer, witness) -> None:
    before = Event.objects.count()
    writes = {"how": "touch", "path": str(witness.path)}
    text = plan(step("a"), step("b", "look", params=writes, after="a"))

    check(text, proposer)
    dry_run(text, proposer)

    assert witness.read() == []
    assert not Plan.objects.exists()
    assert not Run.objects.exists()
    assert Event.objects.count() == before


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({}, id="missing"),
        pytest.param({"issue": 12}, id="wrong type"),
        pytest.param({"issue": "12"}, id="wrong form"),
        pytest.param(INPUTS | {"bsae": "main"}, id="not asked for"),
        pytest.param(INPUTS | {"base": {"$file": {"sha256": "0" * 64}}}, id="file"),
        pytest.param(INPUTS | {"base": {"$secret": "lab-token"}}, id="secret"),
        pytest.param(INPUTS | {"base": float("inf")}, id="no number"),
        pytest.param(
            INPUTS | {"base": json.loads("[" * 900 + "]" * 900)}, id="too deep"
        ),
    ],
)
def test_wrong_inputs_are_refused(inputs, proposer) -> None:
    checked = check(FEATURE, proposer, inputs)

    assert not checked.valid
    assert {one.code for one in checked.problems} == {"plan.input_invalid"}


def test_missing_inputs_get_their_defaults(proposer) -> None:
    assert check(FEATURE, proposer, INPUTS).inputs == INPUTS | {"base": "main"}

    given = INPUTS | {"base": "next"}
    assert check(FEATURE, proposer, given).inputs == given


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"properties": ["issue"]}, id="properties as a list"),
        pytest.param({"properties": {"issue": 3}, "required": 4}, id="numbers"),
        pytest.param({"properties": {"issue": {"type": [[]]}}}, id="type of a list"),
    ],
)
def test_an_invalid_schema_is_reported_and_does_not_raise(schema, proposer) -> None:
    text = plan(step("a", params={"value": "$inputs.issue"}), inputs=schema)

    codes = {code for code, _, _ in found(text, proposer, INPUTS)}

    assert "plan.schema_invalid" in codes


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"params": {"a": [{"$secret": "lab-token"}]}}, id="param"),
        pytest.param(
            {"rollback": {"action": "echo", "params": {"a": {"$secret": "lab-token"}}}},
            id="param of the undo",
        ),
    ],
)
def test_a_plan_cannot_name_a_secret(fields, proposer) -> None:
    text = plan(step("a", **fields))

    assert found(text, proposer) == [("plan.param_invalid", "a", "error")]


def test_text_about_secrets_is_plain_text(proposer) -> None:
    text = plan(step("a", params={"text": '{"$$secret": "x"} and {"$$file": 1}'}))

    assert found(text, proposer) == []


def test_a_user_without_the_right_to_propose_cannot_check(stranger, auditor) -> None:
    for person in (stranger, auditor):
        with pytest.raises(RightMissing):
            check(FEATURE, person)


@pytest.mark.promise("S1.21", "S0.21")
def test_the_right_to_propose_and_each_skill_of_a_chain_are_checked(
    proposer, auditor
) -> None:
    passing = step("a", skill="noop", action="pass")
    text = plan(passing, step("b", after="a"), step("c", skill="files", after="b"))
    withdraw("propose_skill", "lab")
    withdraw("view_skill", "files")

    assert found(text, proposer) == [
        ("plan.skill_not_permitted", "b", "error"),
        ("plan.unknown_skill", "c", "error"),
    ]
    assert found(plan(passing), proposer) == []
    with pytest.raises(RightMissing):
        check(plan(passing), auditor)


def test_a_hidden_skill_does_not_exist_for_the_proposer(proposer) -> None:
    withdraw("view_skill")

    problems = check(plan(step("a")), proposer).problems

    assert [one.code for one in problems] == ["plan.unknown_skill"]
    assert "Laboratory" not in problems[0].message


def test_a_quarantined_skill_cannot_be_used_in_a_plan(proposer, admin) -> None:
    set_state(SkillEvent.QUARANTINED, admin)

    assert found(plan(step("a")), proposer) == [
        ("plan.skill_quarantined", "a", "error")
    ]


def test_a_deprecated_skill_gives_a_warning(proposer, admin) -> None:
    set_state(SkillEvent.DEPRECATED, admin)

    checked = check(plan(step("a")), proposer)

    assert [(one.code, one.severity) for one in checked.problems] == [
        ("plan.skill_deprecated", "warning")
    ]
    assert checked.valid


@pytest.mark.usefixtures("auditor")
def test_an_approval_by_a_group_that_may_not_decide_is_refused(proposer) -> None:
    text = plan(step("a", approval={"groups": [{"group": "auditor", "count": 1}]}))

    assert found(text, proposer) == [("plan.gate_unsatisfiable", "a", "error")]


def test_an_approval_by_more_users_than_exist_is_refused(operator, admin) -> None:
    text = plan(step("a", approval={"groups": [{"group": "operator", "count": 1}]}))

    assert found(text, admin) == []
    assert found(text, operator) == [("plan.gate_unsatisfiable", "a", "error")]


def test_every_problem_is_reported_at_once_with_its_position(proposer) -> None:
    text = FEATURE.replace("skill: lab\n", "skill: lba\n").replace("[look]", "[lok]")

    problems = check(text, proposer, INPUTS).problems

    assert {(one.code, one.line) for one in problems} >= {
        ("plan.unknown_skill", 12),
        ("plan.unknown_step", 14),
    }
    assert any("look" in one.message for one in problems)


@pytest.mark.promise("S1.23")
def test_a_dry_run_reports_each_step_and_its_coverage(proposer) -> None:
    text = plan(
        step("a", params={"value": 7}),
        step("b", params={"value": "$a.output.value"}, after="a"),
        step("c", "witness", params={"mark": "$b.output.value"}, after="b"),
        step("d", params={"value": "$c.output.mark"}, after="c"),
        {"id": "e", "kind": "approval"},
    )

    report = dry_run(text, proposer)

    names = ("step", "kind", "covered", "output_known")
    told = [tuple(one[name] for name in names) for one in report["steps"]]
    assert told == [
        ("a", "simulated", True, True),
        ("b", "simulated", True, True),
        ("c", "none", False, False),
        ("d", "none", False, False),
        ("e", "approval", False, False),
    ]
    assert report["coverage"] == 50
    assert "earlier step" in report["steps"][3]["summary"]


def test_a_dry_run_that_tries_to_write_is_stopped_and_flagged(
    proposer, tmp_path
) -> None:
    path = tmp_path / "touched"

    report = dry_run(plan(step("a", "touch", params={"path": str(path)})), proposer)

    assert not path.exists()
    assert report["steps"][0]["touched"]
    assert "stopped" in report["steps"][0]["summary"]
    assert [one["step"] for one in report["would_fail"]] == ["a"]
    assert report["coverage"] == 0


def test_a_missing_target_is_reported_before_approval(proposer, tmp_path) -> None:
    (tmp_path / "sales-1.csv").write_text("a\n")
    draft = skills.draft_from(
        slug="files",
        changes={"config": {"roots": [str(tmp_path)]}},
        version="9.0.0",
        by=system("test"),
        at=clock.now(),
    )
    skills.publish(
        version_id=draft.id, digest=draft.digest, by=system("test"), at=clock.now()
    )
    text = plan(
        *(
            step(name, "collect", skill="files", params={"pattern": f"{name}-*.csv"})
            for name in ("sales", "costs")
        )
    )

    report = dry_run(text, proposer)

    there, missing = report["steps"]
    assert (there["problems"], there["verdict"]) == ([], "covered")
    assert (len(missing["problems"]), missing["verdict"]) == (1, "would_fail")
    assert "costs-*.csv" in missing["problems"][0]
    assert report["coverage"] == 50
