"""Sub-plans: what is approved, and what stops a changed one."""

import pytest
from django.db import connection

from approvals.errors import Unsatisfiable
from audit import selectors as audit
from execfabric.identity.models import User
from execfabric.lib import canonical, clock
from execfabric.lib.refusal import Denied
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.models import PlanRevision
from orchestration.plans.services import rights
from orchestration.runs.control import control
from orchestration.runs.models import ExecSpec
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    decided,
    driven,
    may_start,
    open_gate,
    plan,
    proposed,
    step,
)
from tests.integration.subplan_builders import OUTER, inner, paths, save, uses

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


def test_steps_inside_have_their_own_gates(proposer, operator, worker) -> None:
    save(
        inner(step("make", "risky", params={"value": "$inputs.word"}), outputs={}),
        proposer,
    )
    run = driven(
        approved(plan(uses(), step("b", after="sub")), proposer, operator), worker
    )
    gate = open_gate(run, "make")

    assert gate.label == "sub/make"
    assert canonical.loads(bytes(gate.subject))["path"] == "sub/make"
    assert canonical.loads(bytes(gate.subject))["params"] == {"value": "hello"}
    decided(gate, operator)
    assert driven(run, worker).state == "succeeded"


def test_a_rejection_inside_ends_the_run(proposer, operator, worker) -> None:
    save(inner(step("make", "risky"), outputs={}), proposer)
    run = driven(approved(plan(uses()), proposer, operator), worker)
    decided(open_gate(run, "make"), operator, approve=False)
    run.refresh_from_db()

    assert run.state == "rejected"
    assert paths(run) == {"sub": "cancelled", "sub/make": "rejected"}


def test_cancelling_ends_the_steps_inside(proposer, operator, worker) -> None:
    save(inner(), proposer)
    run = approved(plan(uses(), step("b", after="sub")), proposer, operator)
    control.cancel(run_id=run.pk, by=operator.actor(), at=clock.now())
    run.refresh_from_db()

    assert run.state == "cancelled"
    assert set(paths(run).values()) == {"cancelled"}


def test_the_plan_gate_has_the_steps_and_the_content_of_sub_plans(
    proposer, operator
) -> None:
    revision = save(inner(), proposer)
    run = proposed(OUTER, proposer)
    subject = canonical.loads(bytes(open_gate(run).subject))

    assert [each["id"] for each in subject["steps"]] == [
        "first", "sub", "sub/make", "sub/again", "make",
    ]  # fmt: skip
    assert subject["steps"][2]["inside"] == "sub"
    assert subject["steps"][2]["undo"]["action"] == "echo"
    assert subject["steps"][3]["depends_on"] == ["sub/make"]
    assert subject["pins"]["sub"]["digest"] == revision.digest
    content = subject["subplans"][revision.digest]
    assert (content["plan"], content["revision"]) == ("inner", 1)
    assert content["document"]["steps"][0]["id"] == "make"


def test_a_later_revision_or_a_right_taken_back_does_not_change_the_run(
    proposer, operator, worker
) -> None:
    owner = User.objects.create_user("owner")
    owner.groups.add(*proposer.groups.all())
    save(inner(), owner)
    may_start(proposer, "inner")
    run = approved(OUTER, proposer, operator)
    save(inner(step("other"), outputs={}), owner)
    rights.revoke(
        slug="inner",
        right=PlanRight.START,
        user="proposer",
        by=owner.actor(),
        at=clock.now(),
    )
    run = driven(run, worker)

    assert run.state == "succeeded"
    assert "sub/again" in paths(run)


def test_the_author_of_a_sub_plan_cannot_approve_the_run(proposer, operator) -> None:
    save(inner(), operator)
    may_start(proposer, "inner")
    with pytest.raises(Unsatisfiable):
        proposed(OUTER, proposer)
    second = User.objects.create_user("second")
    second.groups.add(*operator.groups.all())
    run = proposed(OUTER, proposer)

    assert {"key": operator.actor().key, "why": "editor"} in open_gate(run).excluded
    with pytest.raises(Denied):
        decided(open_gate(run), operator)


def unguarded(table: str, check: str) -> None:
    """Take down triggers and a check until the end of the test."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {check}")


def test_a_changed_sub_plan_voids_the_approval(proposer, operator, worker) -> None:
    revision = save(inner(), proposer)
    run = approved(OUTER, proposer, operator)
    document = canonical.loads(bytes(revision.body))
    document["steps"][0]["params"] = {"value": "forged"}
    unguarded("plans_planrevision", "plan_revision_digest_is_of_body")
    PlanRevision.objects.filter(pk=revision.pk).update(body=canonical.dumps(document))
    run = driven(run, worker)

    assert run.state == "awaiting_approval"
    assert not run.steps.exclude(state="pending").exists()


def test_forged_inputs_of_a_sub_plan_stop_its_steps(proposer, operator, worker) -> None:
    save(inner(), proposer)
    run = approved(plan(uses()), proposer, operator)
    spec = run.steps.get(key="sub").spec
    forged = canonical.loads(bytes(spec.body)) | {"inputs": {"word": "forged"}}
    unguarded("runs_execspec", "exec_spec_digest_is_of_body")
    ExecSpec.objects.filter(pk=spec.pk).update(body=canonical.dumps(forged))
    run = driven(run, worker)

    assert run.steps.get(key="make").error["code"] == "step.content_changed"
    assert streams.verify_stream(run.stream).differences != []


def test_events_of_steps_inside_name_their_path(proposer, operator, worker) -> None:
    save(inner(), proposer)
    run = driven(approved(plan(uses()), proposer, operator), worker)
    events = [
        audit.envelope(one) for one in audit.events_after(run.stream, 0, limit=99)
    ]
    inside = [one for one in events if one["payload"].get("path") == "sub/make"]
    expanded = next(one for one in events if one["kind"] == "step.expanded")

    assert {one["componentTag"] for one in inside} == {"step:sub/make"}
    own = {one["sessionId"] for one in inside} - {expanded["sessionId"]}
    assert len(own) == 1
    assert expanded["payload"]["plan"] == "inner"
    assert expanded["payload"]["revision"] == 1
    assert expanded["payload"]["count"] == 2
    proposal = next(one for one in events if one["kind"] == "run.proposed")
    assert proposal["payload"]["plans"]["sub"]["revision"] == 1
