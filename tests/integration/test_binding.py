"""What was approved is what runs: anything changed in between, by whatever means."""

from datetime import timedelta

import pytest
from django.db import connection

from approvals.models import Gate
from audit import selectors as record
from execfabric.lib import canonical, clock
from orchestration.plans.domain.document import normal_form
from orchestration.plans.models import PlanRevision
from orchestration.plans.selectors import document
from orchestration.runs.keeper import sweep
from orchestration.runs.models import ExecSpec, StepRun
from orchestration.runs.worker import work
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services import registry as skills
from tests import committed
from tests.builders import (
    approved,
    decided,
    driven,
    open_gate,
    plan,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]

TEXT = plan(
    step("source", params={"value": "agreed"}),
    step(
        "effect",
        "witness-gated",
        after="source",
        params={"mark": "$source.output.value"},
    ),
)


@pytest.fixture
def waiting(proposer, operator, worker, witness):
    """Approve a run up to its risky step, which is ready but not claimed."""
    run = driven(approved(TEXT, proposer, operator), worker)
    decided(open_gate(run, "effect"), operator)
    assert states(run)["effect"] == "ready"
    return run


CHECKS = {
    "runs_execspec": "exec_spec_digest_is_of_body",
    "plans_planrevision": "plan_revision_digest_is_of_body",
    "skills_skillversion": "skill_version_digest_is_of_body",
}


def without_guards(table: str) -> None:
    """Take down triggers and checks, as a database administrator could."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {CHECKS[table]}")


@pytest.fixture
def guards(db):
    """Restore the triggers and checks after the test."""
    found = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
    with connection.cursor() as cursor:
        cursor.execute(f"{found} WHERE conname = ANY(%s)", [[*CHECKS.values()]])
        definitions = dict(cursor.fetchall())
    yield
    committed.restore()
    with connection.cursor() as cursor:
        for table, check in CHECKS.items():
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}")
            cursor.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {check} {definitions[check]}"
            )


def change_parameter(run):
    without_guards("runs_execspec")
    spec = run.steps.get(key="effect").spec
    body = bytes(spec.body).replace(b'"mark":"agreed"', b'"mark":"forged"')
    ExecSpec.objects.filter(pk=spec.pk).update(body=body)


def change_output(run):
    StepRun.objects.filter(run=run, key="source").update(output={"value": "forged"})


def change_output_and_its_digest(run):
    digest = canonical.digest_of(
        "execfabric/result/v1", {"output": {"value": "forged"}, "files": {}}
    )
    StepRun.objects.filter(run=run, key="source").update(
        output={"value": "forged"}, output_digest=digest
    )


def change_skill_version(run):
    without_guards("skills_skillversion")
    version = SkillVersion.objects.get(pk=run.pins["effect"]["version_id"])
    body = bytes(version.body).replace(b'"timeout_s":30', b'"timeout_s":31')
    assert body != bytes(version.body)
    SkillVersion.objects.filter(pk=version.pk).update(body=body)


def change_plan(run):
    without_guards("plans_planrevision")
    value = normal_form(document(run.revision))
    value["steps"][1]["params"] = {"mark": "forged"}
    PlanRevision.objects.filter(pk=run.revision_id).update(body=canonical.dumps(value))


def change_inputs(run):
    type(run).objects.filter(pk=run.pk).update(inputs={"added": True})


@pytest.mark.promise("S1.10")
@pytest.mark.parametrize(
    "tamper",
    [
        change_parameter,
        change_output,
        change_output_and_its_digest,
        change_skill_version,
        change_plan,
        change_inputs,
    ],
)
def test_anything_changed_after_approval_stops_the_worker(
    tamper, guards, waiting, worker, witness
):
    gate = Gate.objects.get(context_id=waiting.id, step="effect")
    tamper(waiting)

    driven(waiting, worker)

    gate.refresh_from_db()
    assert witness.read() == []
    assert gate.status == "superseded"
    told = [
        record.envelope(event)["payload"]
        for event in record.events_after(waiting.stream, 0)
        if event.kind == "gate.superseded" and event.step == "effect"
    ]
    assert bytes(gate.digest).hex() in str(told)
    assert any(digest_in(fact) != bytes(gate.digest).hex() for fact in told)
    assert states(waiting)["effect"] != "succeeded"


def digest_in(fact):
    """Return the digest of the changed content."""
    return next(value for key, value in fact.items() if "found" in key)


@pytest.mark.promise("S2.25")
def test_a_superseded_or_expired_approval_stops_what_no_other_approval_covers(
    waiting, proposer, operator, worker, witness
):
    soon = {"reason": "Sure?", "expiresIn": "1h"}
    text = plan(step("effect", "witness-gated", params={"mark": "x"}, approval=soon))
    late = approved(text, proposer, operator)
    superseded = Gate.objects.get(context_id=waiting.id, step="effect")
    expired = open_gate(late, "effect")
    change_output_and_its_digest(waiting)

    driven(waiting, worker)
    sweep.sweep(at=clock.now() + timedelta(hours=2))
    driven(late, worker)
    stopped = witness.read()
    decided(open_gate(waiting, "effect"), operator)
    driven(waiting, worker)

    superseded.refresh_from_db()
    expired.refresh_from_db()
    assert (superseded.status, expired.status) == ("superseded", "expired")
    assert stopped == []
    assert [line.split()[0] for line in witness.read()] == ["forged"]


def test_unchanged_it_runs_exactly_once(waiting, worker, witness):
    driven(waiting, worker)
    driven(waiting, worker)

    assert [line.split()[0] for line in witness.read()] == ["agreed"]


def test_a_skill_quarantined_after_approval_does_not_start(
    waiting, worker, witness, admin
):
    skills.set_state(
        slug="lab",
        event="quarantined",
        reason="It was found to be unsafe.",
        by=admin.actor(),
        at=clock.now(),
    )

    driven(waiting, worker)

    failed = waiting.steps.get(key="effect")
    assert witness.read() == []
    assert (failed.state, failed.error["code"]) == ("failed", "step.skill_withdrawn")


def test_a_new_version_does_not_touch_a_run_that_was_approved_with_the_old(
    waiting, worker, witness, admin
):
    old = Skill.objects.get(slug="lab").current
    draft = skills.draft_from(
        slug="lab",
        changes={"actions": {"witness-gated": {"timeout_s": 5.0}}},
        version="2.0.0",
        by=admin.actor(),
        at=clock.now(),
    )
    skills.publish(
        version_id=draft.id, digest=draft.digest, by=admin.actor(), at=clock.now()
    )

    run = driven(waiting, worker)

    assert run.state == "succeeded"
    assert run.pins["effect"]["digest"] == old.digest
    assert len(witness.read()) == 1


@pytest.mark.parametrize("how", ["left the group", "was deactivated"])
def test_an_approver_who_lost_the_right_approved_nothing(
    how, proposer, operator, second_operator, worker, witness
):
    run = driven(approved(TEXT, proposer, operator), worker)
    decided(open_gate(run, "effect"), second_operator)
    if how == "left the group":
        second_operator.groups.clear()
    else:
        type(operator).objects.filter(pk=second_operator.pk).update(is_active=False)

    driven(run, worker)

    assert witness.read() == []
    assert states(run)["effect"] == "gated"


def change_how_often_it_is_tried(run):
    StepRun.objects.filter(run=run).update(max_attempts=9)


def change_how_many_run_at_once(run):
    type(run).objects.filter(pk=run.pk).update(parallel_max=9)


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        # Each is seen by one of the checks alone: of the action, and of the plan.
        (change_how_often_it_is_tried, "The resolved action has changed"),
        (change_how_many_run_at_once, "The plan, its inputs or its skill versions"),
    ],
)
def test_a_step_without_a_gate_of_its_own_is_bound_as_well(
    tamper, told, proposer, operator, worker, witness
):
    text = plan(step("effect", "witness", params={"mark": "agreed"}))
    run = approved(text, proposer, operator)
    tamper(run)

    work.work(step_run_id=run.steps.get().id, context=worker)

    reasons = [
        record.envelope(event)["payload"].get("reason", "")
        for event in record.events_after(run.stream, 0)
        if event.kind in {"step.gate_voided", "step.failed"}
    ]
    assert [reason.startswith(told) for reason in reasons] == [True]
