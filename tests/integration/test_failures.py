"""When a step does not work: nothing is ignored, nothing is lost, nothing doubled."""

import os
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from django.db import connection

from execfabric.lib import clock
from orchestration.runs.control import control, recovery
from orchestration.runs.domain import outcome
from orchestration.runs.domain.results import Finished
from orchestration.runs.domain.states import Phase
from orchestration.runs.engine import attempts
from orchestration.runs.errors import (
    EvidenceRequired,
    OldAttemptMayLive,
)
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt, LogChunk, StepRun
from orchestration.runs.pages import logs
from tests import committed
from tests.builders import (
    a_worker,
    approved,
    claimed,
    completed,
    decided,
    driven,
    open_gate,
    outputs,
    plan,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]


def bad(how: str, key: str = "bad", action: str = "misbehave", **fields):
    soon = {"timeout": "1s"} if how == "hang" else {}
    return step(key, action, params={"how": how}, **soon, **fields)


@pytest.mark.promise("S0.13", "S1.8", "S1.33")
def test_one_failure_pauses_the_run_and_says_where_and_why(proposer, operator, worker):
    text = plan(step("first"), bad("fail", after="first"), step("last", after="bad"))
    run = driven(approved(text, proposer, operator), worker)

    failed = run.steps.get(key="bad")

    assert run.state == "paused"
    assert run.reason == "Step bad failed."
    assert failed.error == {
        "code": "lab.refused",
        "message": "The target said no.",
        "ran": True,
    }
    assert states(run)["last"] == "pending"


@pytest.mark.promise("S0.17", "S1.30", "S1.31", "S3.51")
def test_resume_goes_on_from_the_last_success(proposer, operator, worker, witness):
    text = plan(
        step("done", "witness", params={"mark": "once"}),
        step("flaky", "misbehave", after="done", params={"how": "fail"}),
    )
    run = driven(approved(text, proposer, operator), worker)

    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    with closing(a_worker("another worker")) as another:
        run = driven(run, another)

    again = run.steps.get(key="flaky")
    assert len(witness.read()) == 1
    assert again.generation == 2
    # A call that reaches its runner too late never begins, and is claimed again.
    began = again.attempts.exclude(phase=Phase.FENCED)
    assert list(began.values_list("phase", flat=True)) == [Phase.FAILED] * 2
    assert run.state == "paused"


def test_abort_ends_the_run_at_the_first_failure(proposer, operator, worker):
    text = plan(bad("fail"), step("never", after="bad"), onFailure="abort")
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "failed"
    assert states(run) == {"bad": "failed", "never": "skipped"}


@pytest.mark.promise("S0.16")
def test_partial_success_is_an_end_of_its_own(proposer, operator, worker):
    text = plan(step("good"), bad("fail"), onFailure="continue")
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "partially_succeeded"
    assert run.reason == "Failed: bad."


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param("raise", "skill.raised", id="raises"),
        pytest.param("hang", "step.timed_out", id="hangs"),
        pytest.param("schema", "skill.output_invalid", id="breaks its schema"),
        pytest.param("number", "skill.output_invalid", id="returns a large number"),
        pytest.param("huge", "skill.output_too_large", id="floods its output"),
        pytest.param("die", "step.runner_died", id="kills its program"),
        pytest.param("memory", "limits.memory", id="takes all memory"),
    ],
)
def test_a_skill_that_misbehaves_fails_by_name(how, code, proposer, operator, worker):
    run = driven(approved(plan(bad(how)), proposer, operator), worker)

    failed = run.steps.get()

    assert (failed.state, failed.error["code"]) == ("failed", code)
    assert "a local value" not in str(failed.error)
    assert run.state == "paused"


def test_a_flood_in_the_log_is_cut_and_the_cut_is_said(proposer, operator, worker):
    run = driven(approved(plan(bad("flood")), proposer, operator), worker)

    text = "".join(logs.pieces(run.steps.get().pk))

    assert run.state == "succeeded"
    assert len(text) < 1_200_000
    assert "characters were not stored]" in text


@pytest.mark.parametrize("how", ["hang", "die", "memory"])
def test_a_step_that_must_not_repeat_is_unknown_when_it_was_cut_off(
    how, proposer, operator, worker
):
    text = plan(bad(how, "once", "once", retry={"attempts": 3}))
    run = driven(approved(text, proposer, operator), worker)

    assert states(run) == {"once": "indeterminate"}
    assert run.state == "paused"
    assert Attempt.objects.count() == 1


def test_a_retry_waits_in_the_database_and_keeps_its_key(
    proposer, operator, worker, witness
):
    text = plan(step("flaky", "flaky", params={"until": 3}))
    run = driven(approved(text, proposer, operator), worker)
    waiting = run.steps.get()
    for _ in range(2):
        sweep.sweep(at=clock.now() + timedelta(minutes=5))
        run = driven(run, worker)

    assert waiting.state == "backoff"
    assert waiting.not_before is not None
    assert run.state == "succeeded"
    assert outputs(run)["flaky"] == {"tries": 3}
    assert len(set(witness.read())) == 1


def test_attempts_are_bounded(proposer, operator, worker, witness):
    text = plan(
        step(
            "flaky",
            "flaky",
            params={"until": 99},
            retry={"attempts": 2, "initial": "1s"},
        )
    )
    run = driven(approved(text, proposer, operator), worker)
    for _ in range(5):
        sweep.sweep(at=clock.now() + timedelta(minutes=5))
        run = driven(run, worker)

    assert run.steps.get().state == "failed"
    assert run.steps.get().attempts.count() == 2


def lapse(step_run: StepRun) -> None:
    """As if the worker had been killed and its lease had run out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_steprun SET lease_until = clock_timestamp() - interval '1 s'"
            " WHERE id = %s",
            [step_run.id],
        )


def test_a_lost_worker_costs_a_repeatable_step_nothing(
    proposer, operator, worker, witness
):
    text = plan(step("again", "witness-again", params={"mark": "x"}))
    run = approved(text, proposer, operator)
    claimed(run, "again")
    lapse(run.steps.get())

    sweep.sweep(at=clock.now())
    run = driven(run, worker)

    assert run.state == "succeeded"
    attempts = run.steps.get().attempts.order_by("fence")
    assert list(attempts.values_list("phase", flat=True)) == ["lost", "done"]


def test_a_worker_lost_after_intent_leaves_an_honest_unknown(
    proposer, operator, worker, witness
):
    text = plan(
        step("once", "witness", params={"mark": "x"}), step("next", after="once")
    )
    run = approved(text, proposer, operator)
    claimed(run, "once")
    lapse(run.steps.get(key="once"))

    sweep.sweep(at=clock.now())
    run = driven(run, worker)

    assert states(run) == {"once": "indeterminate", "next": "pending"}
    assert run.state == "paused"
    assert witness.read() == []


def test_a_late_result_of_a_fenced_attempt_changes_nothing(
    proposer, operator, worker, witness
):
    text = plan(step("again", "witness-again", params={"mark": "x"}))
    run = approved(text, proposer, operator)
    zombie = claimed(run, "again")
    lapse(run.steps.get())
    sweep.sweep(at=clock.now())
    run = driven(run, worker)

    taken = completed(zombie, Finished({"mark": "zombie"}, {}))

    assert taken is None
    assert outputs(run) == {"again": {"mark": "x"}}


def test_a_hint_is_repeated_without_waiting_for_whoever_has_the_step(
    proposer, operator
):
    run = approved(plan(step("one"), step("other"), parallel=True), proposer, operator)
    later = clock.now() + timedelta(minutes=1)
    with psycopg.connect(os.environ["DATABASE_URL"], dbname=database_name()) as other:
        other.execute(
            "SELECT 1 FROM runs_steprun WHERE run_id = %s AND key = 'one' FOR UPDATE",
            [run.id],
        )
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")

        swept = sweep.sweep(at=later)

    assert swept.hinted == 1
    assert run.steps.get(key="other").hinted_at == later


def database_name() -> str:
    """Create a database for the worker process of this test."""
    return str(connection.settings_dict["NAME"])


def test_a_step_whose_workers_keep_dying_is_given_up(proposer, operator):
    run = approved(plan(step("poison")), proposer, operator)
    for _ in range(outcome.MAX_LOSSES):
        claimed(run, "poison")
        lapse(run.steps.get())
        sweep.sweep(at=clock.now())

    assert run.steps.get().error["code"] == "step.attempts_exhausted"


def test_a_person_settles_an_unknown_outcome_with_evidence(
    proposer, operator, worker, witness
):
    text = plan(
        step("once", "witness", params={"mark": "x"}), step("next", after="once")
    )
    run = approved(text, proposer, operator)
    claimed(run, "once")
    unknown = run.steps.get(key="once")
    lapse(unknown)
    sweep.sweep(at=clock.now())

    with pytest.raises(EvidenceRequired):
        recovery.resolve(
            step_run_id=unknown.id,
            happened=True,
            evidence=" ",
            by=operator.actor(),
            at=clock.now(),
        )
    with pytest.raises(OldAttemptMayLive):
        recovery.resolve(
            step_run_id=unknown.id,
            happened=False,
            evidence="The target shows nothing.",
            by=operator.actor(),
            at=clock.now(),
        )
    recovery.resolve(
        step_run_id=unknown.id,
        happened=True,
        evidence="The line is in the file.",
        by=operator.actor(),
        at=clock.now(),
    )
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert run.state == "succeeded"


def test_a_step_that_never_began_ends_with_its_run(proposer, operator, witness):
    run = approved(
        plan(step("once", "witness", params={"mark": "x"})), proposer, operator
    )
    lease = claimed(run, "once")
    lapse(run.steps.get())
    sweep.sweep(at=clock.now())
    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())

    given_back = attempts.not_started(
        lease.session, "It was never handed over.", at=clock.now()
    )

    run.refresh_from_db()
    assert given_back
    assert (run.state, states(run)) == ("cancelled", {"once": "cancelled"})


def test_an_unanswered_gate_expires_and_ends_the_run(proposer, operator, worker):
    text = plan(
        step("risky", "risky", approval={"reason": "Sure?", "expiresIn": "1h"}),
    )
    run = approved(text, proposer, operator)

    swept = sweep.sweep(at=clock.now() + timedelta(hours=2))
    run.refresh_from_db()

    assert swept.expired == 1
    assert run.state == "expired"
    assert states(run) == {"risky": "rejected"}


@pytest.mark.promise("S3.83")
def test_a_secret_goes_by_name_and_is_masked_wherever_it_comes_out(
    proposer, operator, worker
):
    run = driven(approved(plan(step("careless", "secret")), proposer, operator), worker)

    careless = run.steps.get()
    log = "".join(LogChunk.objects.values_list("text", flat=True))
    spec = bytes(careless.spec.body).decode()

    assert careless.output == {"token": "[masked]"}
    assert "laboratory-secret-token" not in log + spec
    assert "[masked]" in log
    assert '{"$secret":"lab-token"}' in spec
    assert committed.tables_with("laboratory-secret-token") == []


def test_two_refusals_of_one_gate_are_told_apart(
    proposer, operator, second_operator, worker
):
    run = driven(approved(plan(step("risky", "risky")), proposer, operator), worker)
    gate = open_gate(run, "risky")
    decided(gate, operator, approve=False)

    with pytest.raises(Exception) as refused:  # noqa: PT011 - the code is what counts
        decided(gate, second_operator)

    assert refused.value.code == "approval.already_settled"
