"""A failed step is edited and retried: a new revision, and only its approvals again."""

import json
import threading
from datetime import timedelta

import psycopg
import pytest
from django.db import connection

from approvals.errors import GateSuperseded
from approvals.models import Gate
from audit import selectors as record
from execfabric.identity.models import User
from execfabric.lib import canonical, clock
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.machine import IllegalTransition
from execfabric.lib.refusal import Refusal
from orchestration.plans import selectors as plans
from orchestration.plans.errors import PlanInvalid
from orchestration.plans.models import PlanRevision
from orchestration.plans.services import saving
from orchestration.runs.control import control, edits, rollback, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.errors import (
    ActReasonRequired,
    EditChangesNothing,
    NotControllable,
    OldAttemptMayLive,
    ParamsInvalid,
    StepActRefused,
    StepTriedSince,
)
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    driven,
    end_dry_runs,
    open_gate,
    outputs,
    plan,
    states,
    step,
)
from tests.integration.rerun_builders import rerun

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path", "second_operator"),
]

NO = Failure("lab.refused", "The target said no.", ran=True)
CHAIN = plan(
    step("first", params={"value": "a"}),
    step("bad", after="first", params={"value": "$first.output.value", "other": 1}),
    step("last", after="bad", params={"value": "$bad.output.value"}),
)
GATED = plan(
    step("first", params={"value": "a"}),
    step("bad", "risky", after="first", params={"value": "old"}),
    step("beside", "risky", after="first", params={"value": "same"}),
    parallel=True,
)


@pytest.fixture
def third_operator(operator):
    person = User.objects.create_user("third-operator")
    person.groups.set(operator.groups.all())
    return person


def asked(run, by, key="bad", **fields):
    row = run.steps.get(key=key, item=None)
    by = by if isinstance(by, Actor) else by.actor()
    made = {"reason": "The name was wrong.", "by": by, "at": clock.now()}
    return Request(step_run_id=row.pk, **{**made, **fields})


def failed_run(proposer, operator, text=CHAIN, output=None):
    """Return a run whose step `bad` has failed; the run is paused because of it."""
    run = approved(text, proposer, operator)
    lease = completed(claimed(run, "first"), Finished(output or {"value": "a"}, {}))
    completed(lease, NO)
    run.refresh_from_db()
    assert (run.state, states(run)["bad"]) == ("paused", "failed")
    return run


def edited(run, by, params=None, **fields):
    """Edit the failed step; the dry run of the edited plan has finished."""
    row = edits.edit(asked(run, by, **fields), params or {"value": "new"})
    end_dry_runs()
    run.refresh_from_db()
    return row


def events(run, kind):
    found = [e for e in record.events_after(run.stream, 0) if e.kind == kind]
    return [record.envelope(event) for event in found]


def gates(run):
    rows = Gate.objects.filter(context_id=run.pk).order_by("requested_at", "rev")
    return [(gate.step or "plan", str(gate.status)) for gate in rows]


def as_it_was(run):
    """Return everything that an edit may change."""
    run.refresh_from_db()
    return (
        run.state,
        run.reason,
        run.revision_id,
        run.gate_id,
        run.gate_before,
        states(run),
        PlanRevision.objects.count(),
        gates(run),
    )


def is_verified(run):
    found = [streams.verify_stream(run.stream)]
    if streams.needs("plans"):
        found.append(streams.verify_stream("plans"))
    return all(each.broken is None and not each.differences for each in found)


@pytest.mark.promise("S3.63")
def test_a_step_is_edited_approved_by_another_user_and_retried_at_once(
    proposer, operator, second_operator, worker
):
    run = failed_run(proposer, operator)
    before, done = run.revision, Attempt.objects.get(step_run__key="first")

    edited(run, operator)

    assert run.state == "awaiting_approval"
    assert states(run) == {"first": "succeeded", "bad": "failed", "last": "pending"}
    assert driven(run, worker).state == "awaiting_approval"
    revision = run.revision
    assert (revision.parent, revision.edited_in) == (before, run.pk)
    assert (revision.author_name, revision.edited_step) == ("operator", "bad")
    assert json.loads(revision.source)["plan"]["steps"][1]["params"] == {
        "value": "new",
        "other": 1,
    }

    decided(open_gate(run), second_operator)

    run.refresh_from_db()
    again = run.steps.get(key="bad")
    assert (run.state, again.state, again.generation) == ("running", "ready", 2)
    run = driven(run, worker)
    assert run.state == "succeeded"
    assert outputs(run)["bad"]["value"] == outputs(run)["last"]["value"] == "new"
    assert Attempt.objects.get(step_run__key="first") == done
    assert is_verified(run)


def test_the_event_says_what_was_edited_by_whom_and_why(proposer, operator):
    run = failed_run(proposer, operator)

    edited(run, operator, {"value": "new", "extra": 2})

    [event] = events(run, "run.edited")
    assert event["actor"]["name"] == "operator"
    assert event["payload"]["edit_reason"] == "The name was wrong."
    assert event["payload"]["step"] == "bad"
    assert event["payload"]["changes"] == [
        {"field": "value", "before": "$first.output.value", "after": "new"},
        {"field": "extra", "before": None, "after": 2},
    ]
    assert is_verified(run)


def test_only_the_plan_and_the_edited_step_are_approved_again(
    proposer, operator, second_operator, worker
):
    run = approved(GATED, proposer, operator)
    driven(run, worker)
    decided(open_gate(run, "bad"), operator)
    completed(claimed(run, "bad"), NO)
    decided(open_gate(run, "beside"), second_operator)
    run.refresh_from_db()
    assert (run.state, states(run)["beside"]) == ("paused", "ready")

    edited(run, operator)

    shown = canonical.loads(bytes(open_gate(run).subject))
    assert shown["edit"]["changes"] == [
        {"field": "value", "before": "old", "after": "new"}
    ]
    decided(open_gate(run), second_operator)
    run = driven(run, worker)
    assert states(run) == {"first": "succeeded", "bad": "gated", "beside": "succeeded"}
    decided(open_gate(run, "bad"), second_operator)
    run = driven(run, worker)
    assert run.state == "succeeded"
    assert sorted(gates(run)) == [
        ("bad", "approved"),
        ("bad", "approved"),
        ("beside", "approved"),
        ("plan", "approved"),
        ("plan", "superseded"),
    ]
    assert is_verified(run)


def test_who_edited_may_not_decide_and_neither_may_the_author(
    proposer, operator, second_operator, worker
):
    run = failed_run(proposer, operator)
    edited(run, operator)

    for by in (operator, proposer):
        with pytest.raises(Refusal):
            decided(open_gate(run), by)

    decided(open_gate(run), second_operator)
    assert driven(run, worker).state == "succeeded"


@pytest.mark.parametrize("how", ["rejected", "expired"])
def test_without_its_approval_the_run_is_as_it_was(
    how, proposer, operator, second_operator, worker
):
    run = failed_run(proposer, operator)
    before = as_it_was(run)
    edited(run, operator)
    gate = open_gate(run)

    if how == "rejected":
        decided(gate, second_operator, approve=False)
    else:
        sweep.sweep(at=gate.expires_at + timedelta(seconds=1))

    after = as_it_was(run)
    assert after[:6] == before[:6]
    assert after[6] == before[6] + 1
    assert after[7] == [("plan", "approved"), ("plan", how)]
    assert len(events(run, "run.edited")) == len(events(run, "run.edit_dropped")) == 1
    assert is_verified(run)
    step_actions.retry(asked(run, operator))
    run = driven(run, worker)
    assert (run.state, outputs(run)["bad"]["value"]) == ("succeeded", "a")
    assert is_verified(run)


def test_an_edit_cannot_be_approved_after_the_run_was_cancelled(
    proposer, operator, second_operator
):
    run = failed_run(proposer, operator)
    revision, approval = run.revision_id, run.gate_id
    edited(run, operator)
    gate = open_gate(run)

    control.cancel(run_id=run.pk, by=operator.actor(), at=clock.now())

    with pytest.raises(GateSuperseded):
        decided(gate, second_operator)
    run.refresh_from_db()
    assert (run.state, run.revision_id, run.gate_id) == (
        "cancelled",
        revision,
        approval,
    )
    assert run.gate_before is None
    assert is_verified(run)


def test_a_step_is_edited_twice(
    proposer, operator, second_operator, worker, third_operator
):
    run = failed_run(proposer, operator)
    edited(run, operator, {"value": "newer"})
    decided(open_gate(run), second_operator)
    completed(claimed(run, "bad"), NO)
    run.refresh_from_db()

    edited(run, second_operator, {"value": "newest"})

    for by in (operator, second_operator):
        with pytest.raises(Refusal):
            decided(open_gate(run), by)
    decided(open_gate(run), third_operator)
    run = driven(run, worker)
    assert (run.state, outputs(run)["last"]["value"]) == ("succeeded", "newest")
    assert is_verified(run)


def test_nothing_else_of_the_run_is_touched_while_the_edit_waits(proposer, operator):
    run = failed_run(proposer, operator)
    edited(run, operator)

    for act in (step_actions.retry, step_actions.skip, step_actions.fall_back):
        with pytest.raises(StepActRefused, match="awaiting approval"):
            act(asked(run, operator))
    with pytest.raises(StepActRefused, match="awaiting approval"):
        edits.edit(asked(run, operator), {"value": "other"})
    with pytest.raises(IllegalTransition):
        control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())


def test_what_cannot_be_an_edit_is_refused_and_changes_nothing(
    proposer, operator, auditor, second_operator
):
    run = failed_run(proposer, operator)
    before = as_it_was(run)
    agent = Actor(ActorKind.AGENT, "a", "agent", owner_id=str(operator.pk))
    refused = [
        (EditChangesNothing, {"other": 1}, {}),
        (ActReasonRequired, {"value": "new"}, {"reason": " "}),
        (StepTriedSince, {"value": "new"}, {"generation": 7}),
        (NotControllable, {"value": "new"}, {"by": auditor}),
        (Refusal, {"value": "new"}, {"by": agent}),
        (PlanInvalid, {"value": "$later.output.value"}, {}),
        (PlanInvalid, {"value": "$last.output.value"}, {}),
        (Refusal, {"value": "$first.output.missing"}, {}),
        (Refusal, {"value": float("nan")}, {}),
        (Refusal, {"value": "\ud800"}, {}),
        (StepActRefused, {"value": "new"}, {"key": "last"}),
    ]

    for error, params, fields in refused:
        key = fields.pop("key", "bad")
        with pytest.raises(error):
            edits.edit(asked(run, **{"by": operator, "key": key, **fields}), params)
        assert as_it_was(run) == before, params


def test_params_that_the_action_refuses_are_named(proposer, operator):
    url = {"url": "https://example.org"}
    text = plan(step("first"), step("bad", "strict", after="first", params=url))
    run = failed_run(proposer, operator, text)
    before = as_it_was(run)

    with pytest.raises((PlanInvalid, ParamsInvalid)) as refused:
        edits.edit(asked(run, operator), {"url": "nowhere"})

    assert "url" in str(refused.value.details)
    assert as_it_was(run) == before


def test_the_worker_of_the_old_attempt_may_still_live(proposer, operator):
    run = approved(CHAIN, proposer, operator)
    lease = completed(claimed(run, "first"), Finished({"value": "a"}, {}))
    completed(lease, Lost("step.runner_died", "It died."))
    row = run.steps.get(key="bad")
    if row.state == "indeterminate":
        with pytest.raises(StepActRefused, match="outcome is unknown"):
            edits.edit(asked(run, operator), {"value": "new"})
    else:
        with pytest.raises((OldAttemptMayLive, StepActRefused)):
            edits.edit(asked(run, operator), {"value": "new"})


def test_an_item_is_not_edited(proposer, operator, worker):
    text = plan(
        step("first", params={"value": ["nowhere"]}),
        step(
            "each",
            "strict",
            after="first",
            forEach="$first.output.value",
            params={"url": "$item"},
        ),
    )
    run = driven(approved(text, proposer, operator), worker)
    item = run.steps.get(key="each", item=0)

    with pytest.raises(StepActRefused, match="item of step each"):
        edits.edit(
            Request(item.pk, "Fix it.", operator.actor(), clock.now()), {"url": "x"}
        )


def test_of_two_editors_at_once_one_is_refused(proposer, operator, second_operator):
    run = failed_run(proposer, operator)
    outcomes = []

    def act(by, value):
        try:
            edits.edit(asked(run, by), {"value": value})
            outcomes.append("done")
        except Refusal as refused:
            outcomes.append(refused.code)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=act, args=(operator, "one")),
        threading.Thread(target=act, args=(second_operator, "two")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count("done") == 1
    assert {*outcomes} - {"done"} <= {"step.act_refused", "edit.plan_edited_since"}
    assert len(events(run, "run.edited")) == 1
    assert PlanRevision.objects.filter(edited_in=run.pk).count() == 1


def test_the_revision_is_not_a_saved_one(proposer, operator, second_operator):
    run = failed_run(proposer, operator)
    edited(run, operator)
    decided(open_gate(run), second_operator)
    run.refresh_from_db()
    plan_row = run.revision.plan

    newest = plans.revision(plan_row)
    assert (newest.number, newest.digest) == (1, run.revision.parent.digest)
    assert plans.owner_key(plan_row) == f"user:{proposer.pk}"
    assert run.revision.saved_number == 1
    saved = saving.save_plan(
        text=run.revision.source, by=proposer.actor(), at=clock.now()
    )
    assert (saved.number, saved.digest) == (2, run.revision.digest)
    assert streams.verify_stream("plans").differences == []


def test_a_rerun_of_an_edited_run_has_the_edited_revision(
    proposer, operator, second_operator, third_operator, worker
):
    run = failed_run(proposer, operator)
    edited(run, operator)
    decided(open_gate(run), second_operator)
    run = driven(run, worker)

    again = rerun(run, second_operator, "last")

    assert again.revision_id == run.revision_id
    excluded = open_gate(again).excluded_keys()
    assert {f"user:{each.pk}" for each in (proposer, operator, second_operator)} <= (
        excluded
    )
    assert is_verified(again)


def test_an_undo_after_an_edit_is_still_covered(
    proposer, operator, second_operator, worker
):
    text = plan(
        step("first", "effect", params={"ticket": "a"}, rollback={"action": "echo"}),
        step("bad", after="first", params={"value": "old"}),
    )
    run = failed_run(proposer, operator, text, {"ticket": "a"})
    edited(run, operator)
    decided(open_gate(run), second_operator)
    run = driven(run, worker)

    who = {"run_id": run.pk, "by": operator.actor(), "at": clock.now()}
    digest = rollback.preview(**who).digest
    rollback.roll_back(**who, reason="All of it was wrong.", digest=digest)

    assert driven(run, worker).state == "rolled_back"


@pytest.mark.parametrize("place", range(4))
def test_an_error_at_any_statement_leaves_the_run_as_it_was(
    place, proposer, operator, monkeypatch
):
    run = failed_run(proposer, operator)
    before = as_it_was(run)
    execute, seen = psycopg.Cursor.execute, []

    def broken(cursor, *args, **kwargs):
        seen.append(args)
        if len(seen) == place * 9 + 1:
            raise psycopg.OperationalError("the server is away")
        return execute(cursor, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", broken)
        try:
            edits.edit(asked(run, operator), {"value": "new"})
            is_done = True
        except Exception:  # noqa: BLE001  whatever it is
            is_done = False

    connection.close()
    if is_done:
        run.refresh_from_db()
        assert run.state == "awaiting_approval"
        assert is_verified(run)
    else:
        assert as_it_was(run) == before
