"""What comes between a probe and its answer: people, faults, the end of the run."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs.control import (
    attention_sources,
    control,
    probes,
    recovery,
    stops,
)
from orchestration.runs.domain import outcome
from orchestration.runs.domain import probes as domain
from orchestration.runs.domain.results import Lost
from orchestration.runs.engine import attempts
from orchestration.runs.errors import NotIndeterminate
from orchestration.skills import selectors as skills
from tests.builders import (
    approved,
    claimed,
    completed,
    driven,
    plan,
    states,
    step,
)
from tests.integration.probe_builders import (
    ABSENT,
    HAPPENED,
    act,
    asked_of,
    expire,
    follow,
    job_of,
    lease_key,
    lose_worker,
    run_of,
)
from tests.integration.rollback_builders import rolled_back
from tests.record import is_whole, kinds, payloads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "witness"),
]


@pytest.fixture(autouse=True)
def killed_at_once(monkeypatch):
    """Take a lost attempt for dead at once, as its guardian would have killed it."""
    monkeypatch.setattr(outcome, "KILL_MARGIN", timedelta(hours=-1))
    monkeypatch.setenv("EXECFABRIC_SECRET_LAB_TOKEN", "very-secret-token")


def test_one_probe_follows_from_any_number_of_hints(proposer, operator, witness):
    run = run_of(proposer, operator)
    assert job_of(run) is None
    lose_worker(run)

    job = job_of(run)

    assert job is not None
    assert job.idempotency_key == lease_key(run)
    assert job_of(run, "q" * 16) is None
    assert job_of(run) == job  # the answer to the commit was lost
    assert kinds(run, "effect").count("step.probe_started") == 1
    assert probes.claim(step_run_id=run.pk, session="p" * 16, at=clock.now()) is None


def test_a_recorded_answer_is_recorded_once(proposer, operator, witness):
    run = run_of(proposer, operator)
    lose_worker(run)
    job = job_of(run)

    assert probes.answer(job, HAPPENED, at=clock.now())
    before = kinds(run)
    assert probes.answer(job, HAPPENED, at=clock.now())

    assert kinds(run) == before


@pytest.mark.parametrize("happened", [True, None])
@pytest.mark.parametrize("probed", [HAPPENED, ABSENT])
def test_a_person_who_decides_first_is_not_overruled(
    happened, probed, proposer, operator, witness
):
    run = run_of(proposer, operator)
    lose_worker(run)
    job = job_of(run)

    recovery.resolve(
        step_run_id=job.step_run_id,
        happened=happened,
        evidence="Looked at the target.",
        output={"mark": "by hand"} if happened else None,
        by=operator.actor(),
        at=clock.now(),
    )
    decided = run.steps.get(key="effect")
    assert not probes.answer(job, probed, at=clock.now())

    row = run.steps.get(key="effect")
    assert (row.state, row.output, row.error) == (
        decided.state,
        decided.output,
        decided.error,
    )
    assert payloads(run, "step.probe_late")[0]["answer"] == str(probed.answer)
    assert is_whole(run)


def test_a_user_who_decides_after_the_probe_is_refused(
    proposer, operator, worker, witness
):
    run = run_of(proposer, operator)
    act(lose_worker(run), witness)
    follow(run, worker)

    with pytest.raises(NotIndeterminate):
        recovery.resolve(
            step_run_id=run.steps.get(key="effect").pk,
            happened=None,
            evidence="No idea.",
            by=operator.actor(),
            at=clock.now(),
        )


def test_a_lost_probe_is_asked_again_three_times_in_all(proposer, operator, witness):
    run = run_of(proposer, operator)
    lose_worker(run)
    at = clock.now()
    first = job_of(run, "1" * 16, at=at)
    jobs = [first]
    for number in ("2", "3"):
        at += domain.LEASE + timedelta(seconds=1)
        jobs.append(job_of(run, number * 16, at=at))
    assert all(jobs)
    assert not probes.answer(first, HAPPENED, at=at)  # it was frozen meanwhile
    at += domain.LEASE + timedelta(seconds=1)

    assert job_of(run, "4" * 16, at=at) is None

    row = run.steps.get(key="effect")
    assert (row.state, row.probe_at) == ("indeterminate", None)
    assert "lost 3 times" in row.probe_record["evidence"]
    assert asked_of(run) == ["effect"]
    assert kinds(run, "effect")[-2:] == ["step.probe_late", "step.probed"]
    assert is_whole(run)


def test_a_probe_that_no_worker_takes_needs_a_person(proposer, operator, witness):
    run = run_of(proposer, operator)
    lose_worker(run)
    assert asked_of(run) == []
    due = run.steps.get(key="effect").probe_at

    late = due + attention_sources.NO_WORKER_AFTER + timedelta(seconds=1)
    assert asked_of(run, at=late) == ["effect"]
    assert job_of(run, at=late)
    assert asked_of(run, at=late) == []


def test_a_stop_holds_probes_too(proposer, operator, worker, witness):
    run = run_of(proposer, operator)
    act(lose_worker(run), witness)
    by, at = operator.actor(), clock.now()
    stop = stops.stop(skill="lab", reason="Down.", cancel=False, by=by, at=at)

    assert follow(run, worker) == 0
    stops.lift(stop_id=stop.pk, reason="Up again.", by=by, at=clock.now())
    assert follow(run, worker) == 1

    assert states(run)["effect"] == "succeeded"


@pytest.mark.parametrize("owner", ["usable", "handler_fits"])
def test_a_probe_that_is_not_what_was_approved_does_not_run(
    owner, proposer, operator, worker, witness, monkeypatch
):
    run = run_of(proposer, operator)
    act(lose_worker(run), witness)
    monkeypatch.setattr(skills, owner, lambda *_: False)

    assert follow(run, worker) == 0

    row = run.steps.get(key="effect")
    assert (row.state, row.probe_record["answer"]) == ("indeterminate", "cannot_tell")
    assert asked_of(run) == ["effect"]


def test_no_probe_begins_while_the_disk_is_almost_full(
    proposer, operator, worker, witness, settings
):
    run = run_of(proposer, operator)
    lose_worker(run)

    settings.MIN_FREE_BYTES = 2**60
    assert follow(run, worker) == 0
    assert run.steps.get(key="effect").probe_record is None


def test_an_answer_that_cannot_be_recorded_is_left_to_a_person(
    proposer, operator, worker, witness, monkeypatch
):
    run = run_of(proposer, operator)
    act(lose_worker(run), witness)
    monkeypatch.setattr(recovery, "result_digest", broken)

    follow(run, worker)

    row = run.steps.get(key="effect")
    assert row.state == "indeterminate"
    assert row.probe_record["evidence"] == "Its answer could not be recorded."


def broken(*_: object) -> None:
    raise TypeError("broken")


@pytest.mark.parametrize("probed", [HAPPENED, ABSENT])
@pytest.mark.parametrize("end", [control.cancel, control.abort])
def test_in_a_run_that_has_ended_the_answer_is_recorded_and_restarts_nothing(
    end, probed, proposer, operator, witness
):
    run = run_of(proposer, operator)
    lose_worker(run)
    job = job_of(run)
    reason = {"reason": "Not wanted."} if end is control.abort else {}
    end(run_id=run.pk, by=operator.actor(), at=clock.now(), **reason)
    run.refresh_from_db()
    ended = run.state

    probes.answer(job, probed, at=clock.now())

    run.refresh_from_db()
    wanted = "succeeded" if probed is HAPPENED else "cancelled"
    assert (run.state, states(run)["effect"]) == (ended, wanted)
    assert "ready" not in states(run).values()
    assert is_whole(run)


def test_a_run_that_a_user_paused_stays_paused(proposer, operator, worker, witness):
    run = run_of(proposer, operator)
    row = run.steps.get(key="effect")
    attempts.claim(
        step_run_id=row.pk, worker="doomed", session="d" * 16, at=clock.now()
    )
    control.pause(run_id=run.pk, by=operator.actor(), at=clock.now(), reason="Lunch.")
    expire(row)

    follow(run, worker)

    run.refresh_from_db()
    assert (run.state, states(run)["effect"]) == ("paused", "ready")


@pytest.mark.parametrize("attempts_left", [0, 1])
def test_the_retry_rule_says_if_it_is_tried_again(
    attempts_left, proposer, operator, witness
):
    """A worker that was not lost, but got no answer, has used up an attempt."""
    fields = {"params": {"mark": "x"}, "retry": {"attempts": 1 + attempts_left}}
    run = approved(plan(step("effect", "probed", **fields)), proposer, operator)
    lease = claimed(run, "effect")
    completed(lease, Lost("step.timed_out", "No answer in time."))

    probes.answer(job_of(run), ABSENT, at=clock.now())

    row = run.steps.get(key="effect")
    run.refresh_from_db()
    if attempts_left:
        assert (row.state, row.tries, run.state) == ("ready", 1, "running")
    else:
        assert (row.state, row.error["ran"], run.state) == ("failed", False, "paused")
        assert run.reason == "Step effect failed."
    assert is_whole(run)


def test_a_step_that_loses_each_worker_fails_in_the_end(proposer, operator, witness):
    run = run_of(proposer, operator)
    for number in range(outcome.MAX_LOSSES):
        assert states(run)["effect"] == "ready"
        lose_worker(run)
        probes.answer(job_of(run, str(number) * 16), ABSENT, at=clock.now())

    row = run.steps.get(key="effect")
    assert (row.state, row.error["code"]) == ("failed", "step.did_not_happen")


def test_a_fallback_begins_once_it_is_known_that_nothing_happened(
    proposer, operator, worker, witness
):
    """An action that is safe to repeat is unknown only if its fallback would follow."""
    fallback = {"skill": "lab", "action": "echo", "params": {"a": 1}}
    made = step(
        "effect",
        "probed-again",
        params={"how": "unknown", "mark": "x"},
        retry={"attempts": 1},
        fallback=fallback,
    )
    run = approved(plan(made), proposer, operator)
    driven(run, worker)
    assert states(run)["effect"] == "indeterminate"

    follow(run, worker)

    run = driven(run, worker)
    row = run.steps.get(key="effect")
    assert (run.state, row.output, row.used_fallback) == ("succeeded", {"a": 1}, True)


def test_an_action_may_be_probed_only_with_a_param(proposer, operator, worker, witness):
    run = run_of(proposer, operator, "probed-if")
    lose_worker(run)
    assert run.steps.get(key="effect").probe_at is None
    assert asked_of(run) == ["effect"]

    other = run_of(proposer, operator, "probed-if", probe="")
    lose_worker(other)
    assert follow(other, worker) == 1
    assert states(other)["effect"] == "ready"


UNDO = {"action": "probed", "params": {"mark": "undo"}}


@pytest.mark.parametrize("probed", ["done", "absent", "unknown"])
def test_a_rollback_waits_for_the_probe_of_an_undo(
    probed, proposer, operator, worker, witness
):
    undo = {**UNDO, "params": {"mark": "undo", "probe": "unsure"}}
    first = step("a", "witness", params={"mark": "a"}, rollback=UNDO)
    second = step(
        "b",
        "witness",
        after="a",
        params={"mark": "b"},
        rollback=undo if probed == "unknown" else UNDO,
    )
    run = driven(approved(plan(first, second), proposer, operator), worker)
    rolled_back(run, operator)
    lease = lose_worker(run, "b.undo")
    run.refresh_from_db()
    assert (run.state, states(run)["b.undo"]) == ("rolling_back", "indeterminate")
    if probed == "done":
        act(lease, witness)

    follow(run, worker, "b.undo")

    run = driven(run, worker)
    marks = [line.split()[0] for line in witness.read()]
    if probed == "unknown":
        assert run.state == "rollback_failed"
        assert marks == ["a", "b"]
    else:
        assert run.state == "rolled_back"
        assert marks == ["a", "b", "undo", "undo"]
        assert states(run)["b"] == "compensated"
    assert is_whole(run)
