"""Proposing a plan: what is stored, what it is bound to, and what people are shown."""

import pytest

from approvals.errors import AgentOwner, EditedByYou, Unsatisfiable
from approvals.models import Gate
from audit import selectors as record
from execfabric.identity.errors import RightMissing
from execfabric.identity.services import create_agent
from execfabric.lib import canonical, clock
from orchestration.plans.errors import PlanInvalid
from orchestration.plans.models import Plan, PlanRevision
from orchestration.runs.models import DryRun, ExecSpec, Run
from orchestration.skills.domain.states import SkillEvent
from orchestration.skills.errors import VersionInvalid
from orchestration.skills.services import registry as skills
from tests.builders import (
    approved,
    decided,
    driven,
    may_start,
    open_gate,
    outputs,
    plan,
    proposed,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("registry"),
]

TEXT = plan(
    step("a", params={"value": "$inputs.word"}),
    step("b", "risky", params={"value": "$a.output.value"}, after="a"),
    {
        "id": "c",
        "kind": "approval",
        "approval": {"reason": "Sure?"},
        "dependsOn": ["b"],
    },
    inputs={"properties": {"word": {"type": "string", "default": "hello"}}},
)


def shown_of(run):
    """Return the content of a run's plan gate."""
    return canonical.loads(bytes(open_gate(run).subject))


def refused(text, by, inputs=None):
    """Return the problems of a refused proposal."""
    with pytest.raises(PlanInvalid) as caught:
        proposed(text, by, inputs)
    assert not Run.objects.exists()
    return [one["code"] for one in caught.value.details["problems"]]


@pytest.mark.promise("S1.1")
def test_a_proposed_plan_waits_for_approval_and_nothing_runs(proposer) -> None:
    run = proposed(TEXT, proposer)

    assert run.state == "awaiting_approval"
    assert states(run) == {"a": "pending", "b": "pending", "c": "pending"}
    assert run.inputs == {"word": "hello"}
    steps = run.steps.order_by("position").values_list("key", "kind", "position")
    assert list(steps) == [("a", "skill", 0), ("b", "skill", 1), ("c", "approval", 2)]
    assert open_gate(run).status == "requested"


def test_the_same_content_written_differently_is_the_same_revision(
    proposer, second_operator
) -> None:
    first = proposed(plan(step("a"), step("b", after="a")), proposer)
    may_start(second_operator)

    again = proposed(
        "id: lab-plan\nname: Laboratory plan\nsteps:\n"
        "- {id: a, skill: lab, action: echo}\n"
        "- {id: b, depends_on: [a], action: echo, skill: lab}\n",
        second_operator,
    )

    assert again.revision_id == first.revision_id
    assert PlanRevision.objects.get().author == proposer.actor().key
    assert again.proposer == second_operator.actor().key


@pytest.mark.promise("S3.74")
def test_only_changed_content_is_a_new_revision(proposer) -> None:
    texts = [plan(step("a")), plan(step("a")), plan(step("b")), plan(step("a"))]

    runs = [proposed(text, proposer) for text in texts]

    assert [run.revision.number for run in runs] == [1, 1, 2, 1]
    assert len({run.revision.digest for run in runs}) == 2
    assert Plan.objects.count() == 1


def test_the_author_of_a_revision_may_not_approve_its_proposal_by_another(
    operator, second_operator, proposer
) -> None:
    proposed(TEXT, operator)
    may_start(proposer)

    run = proposed(TEXT, proposer)

    gate = open_gate(run)
    with pytest.raises(EditedByYou):
        decided(gate, operator)
    assert decided(gate, second_operator).status == "approved"


@pytest.mark.promise("S3.91", "S1.16", "S1.17")
def test_approvers_see_and_sign_exactly_what_will_run(proposer) -> None:
    run = proposed(TEXT, proposer, {"word": "hi"})

    shown = shown_of(run)

    assert shown["run"] == str(run.id)
    assert shown["plan"]["digest"] == run.revision.digest
    assert shown["plan"]["document"]["steps"][0]["params"] == {"value": "$inputs.word"}
    assert shown["inputs"] == {"word": "hi"}
    assert shown["proposer"]["id"] == str(proposer.pk)
    by_id = {one["id"]: one for one in shown["steps"]}
    assert by_id["b"]["risk"] == "high"
    assert by_id["b"]["undo"]["action"] == "echo"
    assert by_id["b"]["gates"] == ["The risk of lab risky is high."]
    assert by_id["c"]["gates"] == ["Sure?"]
    assert shown["pins"] == run.pins
    digest = canonical.digest("execfabric/run/v1", bytes(open_gate(run).subject))
    assert bytes(open_gate(run).digest) == digest


@pytest.mark.promise("S3.87")
def test_a_proposal_is_bound_to_the_version_that_was_current(proposer, admin) -> None:
    run = proposed(TEXT, proposer)
    draft = skills.draft_from(
        slug="lab",
        changes={"description": "Newer."},
        version="1.1.0",
        by=admin.actor(),
        at=clock.now(),
    )
    skills.publish(
        version_id=draft.id, digest=draft.digest, by=admin.actor(), at=clock.now()
    )

    later = proposed(TEXT, proposer)

    run.refresh_from_db()
    assert {pin["version"] for pin in run.pins.values()} == {"1.0.0"}
    assert {pin["version"] for pin in later.pins.values()} == {"1.1.0"}
    assert {pin["digest"] for pin in later.pins.values()} == {draft.digest}
    asked = plan(step("a", version="1.0.0"))
    assert proposed(asked, proposer).pins["a"]["version"] == "1.0.0"
    for number in ("1.2", "v2.0.0", "newest"):
        with pytest.raises(VersionInvalid):
            skills.draft_from(
                slug="lab",
                changes={},
                version=number,
                by=admin.actor(),
                at=clock.now(),
            )


def test_a_plan_with_errors_is_not_stored_and_every_problem_is_named(proposer) -> None:
    text = plan(step("a", skill="nowhere"), step("b", params={"v": "$z.output"}))

    assert refused(text, proposer) == ["plan.unknown_skill", "plan.reference_unknown"]
    assert not Plan.objects.exists()


def test_warnings_do_not_prevent_a_proposal(proposer, admin) -> None:
    skills.set_state(
        slug="lab",
        event=SkillEvent.DEPRECATED,
        reason="There is a newer one.",
        by=admin.actor(),
        at=clock.now(),
    )

    assert proposed(TEXT, proposer).state == "awaiting_approval"


@pytest.mark.parametrize("key", ["$secret", "$file"])
def test_inputs_cannot_forge_secrets_and_files(key, proposer) -> None:
    text = plan(
        step("a", params={"v": "$inputs.x"}),
        inputs={"properties": {"x": {}}, "required": ["x"]},
    )

    codes = refused(text, proposer, {"x": [{key: "lab-token"}]})

    assert set(codes) == {"plan.input_invalid"}


def test_a_user_without_the_right_to_propose_is_refused(auditor) -> None:
    with pytest.raises(RightMissing):
        proposed(TEXT, auditor)

    assert not Run.objects.exists()


def test_a_plan_that_no_one_could_approve_is_refused(admin, operator) -> None:
    with pytest.raises(Unsatisfiable):
        proposed(TEXT, operator)

    assert not Run.objects.exists()
    assert not Gate.objects.exists()
    assert proposed(TEXT, admin).state == "awaiting_approval"


def test_the_owner_of_an_agent_may_not_approve_its_proposal(
    operator, second_operator, admin
) -> None:
    agent, _ = create_agent(
        name="planner", owner="operator", by=admin.actor(), at=clock.now()
    )

    run = proposed(TEXT, agent)

    assert (run.proposer, run.proposer_owner) == (
        agent.actor().key,
        operator.actor().key,
    )
    with pytest.raises(AgentOwner):
        decided(open_gate(run), operator)
    assert decided(open_gate(run), second_operator).status == "approved"


def test_the_audit_log_has_the_proposal_and_its_proposer(proposer) -> None:
    run = proposed(TEXT, proposer)

    told = [record.envelope(event) for event in record.events_after(run.stream, 0)]

    fact = told[0]["payload"]
    assert fact["digest"] == run.revision.digest
    assert fact["steps"] == ["a", "b", "c"]
    assert "hello" not in str(fact)


def test_a_plan_runs_as_previewed_and_approved(proposer, operator, worker) -> None:
    run = proposed(TEXT, proposer, {"word": "hi"})
    report = DryRun.objects.get(run=run).report
    assert report["steps"][0]["summary"] == "Echo the params."
    assert states(run)["a"] == "pending"

    decided(open_gate(run), operator)
    run = driven(run, worker)
    decided(open_gate(run, "b"), operator)
    run = driven(run, worker)
    decided(open_gate(run, "c"), operator)

    run.refresh_from_db()
    assert run.state == "succeeded"
    assert outputs(run)["b"] == {"value": "hi"}


@pytest.mark.promise("S2.51")
def test_a_skill_receives_only_what_its_params_name(proposer, operator, worker) -> None:
    text = plan(
        step("a", params={"needed": "this", "private": "not for b"}),
        step("b", params={"value": "$a.output.needed"}, after="a"),
        inputs={"properties": {"word": {"type": "string"}}},
    )

    run = driven(approved(text, proposer, operator, word="only of the run"), worker)

    body = bytes(ExecSpec.objects.get(steprun__run=run, steprun__key="b").body)
    assert outputs(run)["b"] == {"value": "this"}
    assert b"not for b" not in body
    assert b"only of the run" not in body
    assert run.state == "succeeded"
