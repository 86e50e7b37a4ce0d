"""What a user does about a failed step, and what becomes of the run."""

import threading

import pytest
from django.db import connection

from audit import selectors as record
from execfabric.identity.errors import AgentsCannotDecide, RightMissing
from execfabric.lib import clock
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.machine import IllegalTransition
from orchestration.runs.control import control, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.results import Failure, Finished
from orchestration.runs.errors import (
    ActReasonRequired,
    EarlierAttemptUnknown,
    EvidenceRequired,
    NotControllable,
    OldAttemptMayLive,
    OutputInvalid,
    OwnCompletion,
    StepActRefused,
    StepTriedSince,
    StepUnknown,
)
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt, StepRun
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    driven,
    open_gate,
    outputs,
    plan,
    proposed,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]

NO = Failure("lab.refused", "The target said no.", ran=True)
CHAIN = plan(
    step("first", params={"value": "a"}),
    step("bad", after="first", params={"value": "$first.output.value"}),
    step("last", after="bad", params={"value": "$bad.output.value?"}),
    step("always", after="bad", triggerRule="all_done"),
)


def asked(run, key="bad", by=None, **fields):
    """Return a request about a step of a run."""
    row = run.steps.get(key=key, item=None)
    made = {"reason": "The target is back.", "by": by.actor(), "at": clock.now()}
    return Request(step_run_id=row.pk, **{**made, **fields})


def failed_run(proposer, operator, text=CHAIN, key="bad"):
    """Return a run whose step `key` has failed; the run is paused because of it."""
    run = approved(text, proposer, operator)
    lease = claimed(run, "first")
    lease = completed(lease, Finished({"value": "a"}, {}))
    if lease is not None:
        assert lease.key == key
        completed(lease, NO)
    run.refresh_from_db()
    assert run.state == "paused"
    return run


def kinds(run):
    return [event.kind for event in record.events_after(run.stream, 0)]


def payload(run, kind):
    found = [e for e in record.events_after(run.stream, 0) if e.kind == kind]
    assert len(found) == 1
    return record.envelope(found[0])


@pytest.mark.promise("S0.17")
def test_one_failed_step_is_retried_and_the_run_continues(proposer, operator, worker):
    run = failed_run(proposer, operator)

    step_actions.retry(asked(run, by=operator))

    run.refresh_from_db()
    again = run.steps.get(key="bad")
    assert run.state == "running"
    assert (again.state, again.generation) == ("ready", 2)
    event = payload(run, "step.retried")
    assert event["payload"]["reason"] == "The target is back."
    assert event["actor"]["name"] == "operator"
    assert driven(run, worker).state == "succeeded"


@pytest.mark.promise("S0.16", "S1.8")
def test_a_run_in_which_a_failed_step_was_skipped_ends_as_partly_succeeded(
    proposer, operator, worker
):
    run = failed_run(proposer, operator)

    step_actions.skip(asked(run, by=operator, reason="Not needed today."))

    run = driven(run, worker)
    assert states(run) == {
        "first": "succeeded",
        "bad": "skipped",
        "last": "skipped",
        "always": "succeeded",
    }
    assert run.state == "partially_succeeded"
    assert run.reason == "Skipped by a user: bad."
    skipped = run.steps.get(key="bad")
    assert skipped.error["code"] == "step.skipped_by_user"
    assert skipped.error["cause"]["code"] == "lab.refused"
    assert payload(run, "step.skipped_by_user")["payload"]["reason"] == (
        "Not needed today."
    )


@pytest.mark.promise("S3.64")
def test_a_step_completed_by_hand_gives_its_output_to_later_steps(
    proposer, operator, second_operator, worker
):
    run = failed_run(proposer, operator)

    step_actions.complete(
        asked(run, by=second_operator),
        evidence="Ticket 7.",
        output={"value": "by hand"},
    )

    run = driven(run, worker)
    assert run.state == "succeeded"
    assert outputs(run)["last"] == {"value": "by hand"}
    fact = payload(run, "step.completed_by_hand")["payload"]
    assert fact["evidence"] == "Ticket 7."
    assert fact["missing_files"] == []
    row = run.steps.get(key="bad")
    assert (row.reuse_digest, row.error) == ("", None)
    assert row.completed_seq


def test_an_aborted_run_ends_as_failed_and_runs_nothing_more(proposer, operator):
    run = failed_run(proposer, operator)

    control.abort(
        run_id=run.id, by=operator.actor(), at=clock.now(), reason="Wrong plan."
    )

    run.refresh_from_db()
    assert run.state == "failed"
    assert run.reason == "Aborted by operator: Wrong plan."
    assert states(run) == {
        "first": "succeeded",
        "bad": "failed",
        "last": "skipped",
        "always": "skipped",
    }


def test_an_abort_waits_for_the_step_that_runs(proposer, operator):
    run = approved(CHAIN, proposer, operator)
    lease = claimed(run, "first")

    control.abort(run_id=run.id, by=operator.actor(), at=clock.now(), reason="Wrong.")
    run.refresh_from_db()
    waiting = run.state
    taken = completed(lease, Finished({"value": "a"}, {}))

    run.refresh_from_db()
    assert waiting == "aborting"
    assert taken is None
    assert (run.state, states(run)["first"]) == ("failed", "succeeded")


ACTS = {
    "retry": step_actions.retry,
    "skip": step_actions.skip,
    "fallback": step_actions.fall_back,
    "complete": lambda request: step_actions.complete(
        request, evidence="Ticket 7.", output={"value": "by hand"}
    ),
}
DECIDED = plan(
    step("first", params={"value": "a"}),
    step(
        "bad",
        after="first",
        when="steps.first.output.value.missing == 1",
        fallback={"skill": "lab", "action": "echo", "params": {"value": "instead"}},
    ),
    step("last", after="bad", params={"value": "$bad.output.value?"}),
)


def test_the_fallback_of_a_step_that_did_not_start_is_run_by_a_user(
    proposer, operator, worker
):
    run = driven(approved(DECIDED, proposer, operator), worker)
    assert run.steps.get(key="bad").error["code"] == "step.condition_failed"

    step_actions.fall_back(asked(run, by=operator))

    run = driven(run, worker)
    assert run.state == "succeeded"
    assert outputs(run)["last"] == {"value": "instead"}
    assert payload(run, "step.fell_back")["payload"]["reason"] == "The target is back."


def test_a_fallback_is_refused_while_an_earlier_attempt_may_have_worked(
    proposer, operator, worker
):
    run = driven(approved(DECIDED, proposer, operator), worker)
    bad = run.steps.get(key="bad")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_steprun SET effect_class = 'idempotent', spec_id ="
            " (SELECT spec_id FROM runs_steprun WHERE run_id = %s AND key = 'first')"
            " WHERE id = %s",
            [run.id, bad.id],
        )
    spec = StepRun.objects.get(pk=bad.pk).spec_id
    Attempt.objects.create(
        step_run=bad,
        fence=1,
        generation=1,
        worker="w",
        phase="lost",
        spec_id=spec,
        session_id="0" * 16,
        started_at=clock.now(),
        intent_at=clock.now(),
        ended_at=clock.now(),
    )

    with pytest.raises(EarlierAttemptUnknown):
        step_actions.fall_back(asked(run, by=operator))
    with pytest.raises(OldAttemptMayLive):
        step_actions.retry(asked(run, by=operator))

    assert run.steps.get(key="bad").state == "failed"
    assert "bad.fallback" not in states(run)


RUN_STATES = {
    "cancelled": lambda run, by: control.cancel(run_id=run.id, by=by, at=clock.now()),
    "failed": lambda run, by: control.abort(
        run_id=run.id, by=by, at=clock.now(), reason="Wrong."
    ),
}


@pytest.mark.parametrize("act", [*ACTS, "abort"])
def test_the_record_explains_every_row_after_an_act(act, proposer, operator, worker):
    text = DECIDED if act == "fallback" else CHAIN
    run = failed_run(proposer, operator, text)
    if act == "abort":
        RUN_STATES["failed"](run, operator.actor())
    else:
        ACTS[act](asked(run, by=operator))
    run = driven(run, worker)

    checked = streams.verify_stream(run.stream)

    assert run.finished_at is not None
    assert (checked.broken, checked.differences) == (None, [])


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("state", ["cancelled", "failed"])
def test_nothing_can_be_done_once_the_run_has_ended(act, state, proposer, operator):
    run = failed_run(proposer, operator)
    RUN_STATES[state](run, operator.actor())
    before = states(run)

    with pytest.raises(StepActRefused, match="the run has ended"):
        ACTS[act](asked(run, by=operator))

    assert states(run) == before


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("key", ["first", "last"])
def test_only_a_failed_step_can_be_acted_on(act, key, proposer, operator):
    run = failed_run(proposer, operator)

    with pytest.raises(StepActRefused, match="the step has not failed"):
        ACTS[act](asked(run, key, by=operator))


CONTINUED = plan(
    step("first", params={"value": "a"}),
    step("bad", after="first", params={"value": "$first.output.value"}),
    step("last", after="bad", params={"value": "$bad.output.value"}),
    step("slow", after="first"),
    onFailure="continue",
    parallel=True,
)


@pytest.mark.parametrize(
    ("act", "end", "last"),
    [
        ("retry", "succeeded", "succeeded"),
        ("skip", "partially_succeeded", "skipped"),
        ("complete", "succeeded", "succeeded"),
    ],
)
def test_a_user_acts_while_the_run_continues(
    act, end, last, proposer, operator, worker
):
    run = approved(CONTINUED, proposer, operator)
    lease = claimed(run, "first")
    bad = completed(lease, Finished({"value": "a"}, {}))
    assert bad.key == "bad"
    slow = completed(bad, NO)
    assert slow.key == "slow"
    assert states(run)["last"] == "skipped"

    ACTS[act](asked(run, by=operator))
    while slow := completed(slow, Finished({"value": "a"}, {})):
        pass

    run = driven(run, worker)
    assert run.state == end
    assert states(run)["last"] == last


TWO = plan(
    step("first", params={"value": "a"}),
    step("bad", after="first"),
    step("worse", after="first"),
    step("last", after=["bad", "worse"], triggerRule="all_done"),
    parallel=True,
)


def test_the_run_stays_paused_while_another_failure_remains(proposer, operator, worker):
    run = approved(TWO, proposer, operator)
    lease = completed(claimed(run, "first"), Finished({"value": "a"}, {}))
    other = claimed(run, "worse" if lease.key == "bad" else "bad")
    completed(lease, NO)
    completed(other, NO)
    run.refresh_from_db()
    assert run.state == "paused"

    step_actions.skip(asked(run, "bad", by=operator))
    run.refresh_from_db()
    still = run.state
    step_actions.retry(asked(run, "worse", by=operator))

    run.refresh_from_db()
    assert (still, run.state) == ("paused", "running")
    assert driven(run, worker).state == "partially_succeeded"


def test_a_run_that_a_user_paused_waits_for_that_user(proposer, operator, worker):
    run = approved(CHAIN, proposer, operator)
    bad = completed(claimed(run, "first"), Finished({"value": "a"}, {}))
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now(), reason="Lunch.")
    completed(bad, NO)

    step_actions.retry(asked(run, by=operator))

    run.refresh_from_db()
    assert (run.state, run.reason) == ("paused", "Lunch.")
    assert states(run)["bad"] == "pending"
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    assert driven(run, worker).state == "succeeded"


def test_a_resume_does_not_try_a_skipped_step_again(proposer, operator, worker):
    run = approved(TWO, proposer, operator)
    lease = completed(claimed(run, "first"), Finished({"value": "a"}, {}))
    other = claimed(run, "worse" if lease.key == "bad" else "bad")
    completed(lease, NO)
    completed(other, NO)

    step_actions.skip(asked(run, "bad", by=operator))
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())

    run = driven(run, worker)
    assert states(run)["bad"] == "skipped"
    assert run.state == "partially_succeeded"


@pytest.mark.parametrize("act", ACTS)
def test_an_act_needs_a_visible_reason(act, proposer, operator, second_operator):
    run = failed_run(proposer, operator)

    with pytest.raises(ActReasonRequired):
        ACTS[act](asked(run, by=second_operator, reason="\u200b \n"))

    assert states(run)["bad"] == "failed"


@pytest.mark.parametrize("act", ACTS)
def test_an_act_needs_the_right_to_control_the_run(
    act, proposer, operator, auditor, stranger
):
    run = failed_run(proposer, operator)

    with pytest.raises((NotControllable, RightMissing)):
        ACTS[act](asked(run, by=auditor))
    with pytest.raises((StepUnknown, RightMissing)):
        ACTS[act](asked(run, by=stranger))
    bot = Actor(ActorKind.AGENT, "1", "bot", owner_id=str(operator.pk))
    with pytest.raises(AgentsCannotDecide):
        ACTS[act](Request(run.steps.get(key="bad").pk, "Again.", bot, clock.now()))

    assert states(run)["bad"] == "failed"


def test_who_proposed_the_run_retries_but_does_not_complete(
    operator, second_operator, proposer
):
    run = failed_run(second_operator, operator)

    with pytest.raises(OwnCompletion, match="a run that you proposed"):
        ACTS["complete"](asked(run, by=second_operator))
    ACTS["retry"](asked(run, by=second_operator))

    assert states(run)["bad"] == "ready"


@pytest.mark.parametrize(
    ("evidence", "output", "refusal"),
    [
        (" ", {"value": 1}, EvidenceRequired),
        ("Ticket 7.", {"ok": "yes"}, OutputInvalid),
    ],
)
def test_what_was_done_by_hand_needs_evidence_and_a_fitting_output(
    evidence, output, refusal, proposer, operator
):
    text = plan(step("bad", "misbehave", params={"how": "fail"}))
    run = approved(text, proposer, operator)
    completed(claimed(run, "bad"), NO)

    with pytest.raises(refusal):
        step_actions.complete(asked(run, by=operator), evidence=evidence, output=output)

    assert states(run)["bad"] == "failed"


@pytest.mark.parametrize("act", ACTS)
def test_a_request_about_an_earlier_failure_is_refused(act, proposer, operator):
    run = failed_run(proposer, operator, DECIDED if act == "fallback" else CHAIN)
    seen = run.steps.get(key="bad").generation
    step_actions.retry(asked(run, by=operator))
    if run.steps.get(key="bad").state == "ready":
        completed(claimed(run, "bad"), NO)

    with pytest.raises(StepTriedSince):
        ACTS[act](asked(run, by=operator, generation=seen))

    assert states(run)["bad"] == "failed"


@pytest.mark.parametrize("act", ACTS)
def test_an_act_sent_again_after_a_lost_answer_changes_nothing(act, proposer, operator):
    run = failed_run(proposer, operator, DECIDED if act == "fallback" else CHAIN)
    request = asked(run, by=operator)
    ACTS[act](request)
    before = states(run), kinds(run)

    with pytest.raises(StepActRefused):
        ACTS[act](request)

    assert (states(run), kinds(run)) == before


def test_of_two_users_at_once_one_is_refused(proposer, operator, second_operator):
    run = failed_run(proposer, operator)
    outcomes = []

    def act(name, by):
        try:
            ACTS[name](asked(run, by=by))
            outcomes.append("done")
        except StepActRefused as refused:
            outcomes.append(refused.code)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=act, args=("skip", operator)),
        threading.Thread(target=act, args=("complete", second_operator)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["done", "step.act_refused"]
    done = {"step.skipped_by_user", "step.completed_by_hand"} & set(kinds(run))
    assert len(done) == 1


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        ("awaiting_approval", None),
        ("running", "aborting"),
        ("pausing", "aborting"),
        ("paused", "failed"),
        ("cancelled", None),
    ],
)
def test_a_run_is_aborted_in_every_state_in_which_it_has_started(
    state, ends, proposer, operator
):
    by = operator.actor()
    run = proposed(CHAIN, proposer)
    if state != "awaiting_approval":
        decided(open_gate(run), operator)
    if state in {"running", "pausing"}:
        claimed(run, "first")
    if state in {"pausing", "paused"}:
        control.pause(run_id=run.id, by=by, at=clock.now())
    if state == "cancelled":
        control.cancel(run_id=run.id, by=by, at=clock.now())
    run.refresh_from_db()
    assert run.state == state

    if ends is None:
        with pytest.raises(IllegalTransition, match="Cannot abort the run"):
            control.abort(run_id=run.id, by=by, at=clock.now(), reason="Wrong.")
    else:
        control.abort(run_id=run.id, by=by, at=clock.now(), reason="Wrong.")

    run.refresh_from_db()
    assert run.state == (ends or state)


def test_an_abort_withdraws_open_approvals(proposer, operator, worker):
    text = plan(step("risky", "risky"), step("last", after="risky"))
    run = driven(approved(text, proposer, operator), worker)
    gate = open_gate(run, "risky")

    control.abort(run_id=run.id, by=operator.actor(), at=clock.now(), reason="No.")

    gate.refresh_from_db()
    run.refresh_from_db()
    assert (run.state, gate.is_open) == ("failed", False)
    assert states(run) == {"risky": "skipped", "last": "skipped"}


def test_an_abort_whose_worker_died_is_ended_by_the_keeper(proposer, operator):
    text = plan(step("once", "witness-again", params={"mark": "x"}))
    run = approved(text, proposer, operator)
    claimed(run, "once")
    control.abort(run_id=run.id, by=operator.actor(), at=clock.now(), reason="No.")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_steprun SET lease_until = clock_timestamp() - interval '1 s'"
            " WHERE run_id = %s",
            [run.id],
        )

    sweep.sweep(at=clock.now())

    run.refresh_from_db()
    assert (run.state, states(run)) == ("failed", {"once": "skipped"})


def test_an_abort_needs_a_reason_and_the_right(proposer, operator, auditor):
    run = failed_run(proposer, operator)

    with pytest.raises(ActReasonRequired):
        control.abort(run_id=run.id, by=operator.actor(), at=clock.now(), reason=" ")
    with pytest.raises(NotControllable):
        control.abort(run_id=run.id, by=auditor.actor(), at=clock.now(), reason="No.")

    run.refresh_from_db()
    assert run.state == "paused"
