"""Watchers: clocks, steps that no worker takes, runs that wait for nothing."""

import logging
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection

from execfabric.infra import disk
from execfabric.lib import clock
from orchestration.runs import dispatch
from orchestration.runs.control import stops
from orchestration.runs.engine import attempts
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt, SweepFailure
from orchestration.runs.pages import watch
from orchestration.runs.worker import work
from tests.builders import approved, chain, claimed, completed, driven, plan, step
from tests.console_builders import signed_in, words
from tests.database import record_attempts
from tests.integration.test_failures import lapse
from tests.record import is_whole, kinds

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def codes() -> list[str]:
    return [finding.code for finding in watch.findings()]


def executed(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Report a ready step at once."""
    monkeypatch.setattr(watch, "LONG_S", -1.0)


def test_nothing_is_wrong_at_first(proposer, operator):
    approved(chain(2), proposer, operator)

    assert codes() == []


@pytest.mark.parametrize("by", [-3600, 3600], ids=["behind", "ahead"])
def test_a_clock_that_differs_from_the_database_is_found(by, monkeypatch, operator):
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(seconds=by))

    [finding] = watch.findings()
    assert finding.code == "clock"
    assert ("ahead" if by > 0 else "behind") in finding.text


@pytest.mark.parametrize("by", [-3600, 3600], ids=["behind", "ahead"])
def test_the_clock_of_a_worker_is_found(by, proposer, operator):
    run = approved(chain(2), proposer, operator)
    at = clock.now() + timedelta(seconds=by)
    options = {"worker": "host:1", "session": "a" * 16}
    attempts.claim(step_run_id=run.steps.get(key="s0").pk, at=at, **options)

    [finding] = watch.findings()
    assert finding.code == "clock:host:1"
    assert "3600" in finding.text or "3599" in finding.text


def test_a_single_slow_claim_is_not_taken_for_a_wrong_clock(proposer, operator):
    run = approved(chain(2), proposer, operator)
    second = completed(claimed(run, "s0", "test-worker"))
    assert second is not None
    record_attempts(timedelta(minutes=-1), [Attempt.objects.latest("pk")])

    assert codes() == []


def test_a_queue_without_a_worker_is_found(proposer, operator, impatient):
    approved(chain(2), proposer, operator)

    [finding] = watch.findings()
    assert finding.code == "no_worker"
    assert finding.text.startswith("No worker starts steps. 1 ready steps")


def test_a_queue_that_grows_is_found(proposer, operator, impatient):
    text = plan(step("a"), step("b"), parallel=True)
    run = approved(text, proposer, operator)
    claimed(run, "a")

    assert codes() == ["queue"]


def test_a_stop_is_not_a_queue_without_a_worker(proposer, operator, impatient):
    approved(chain(2), proposer, operator)
    for skill in ("lab", ""):
        by = operator.actor()
        row = stops.stop(skill=skill, reason="x", cancel=False, by=by, at=clock.now())
        assert codes() == []
        stops.lift(stop_id=row.pk, reason="x", by=by, at=clock.now())


def test_home_shows_findings_to_who_controls_runs(
    proposer, operator, stranger, impatient, monkeypatch
):
    approved(chain(2), proposer, operator)
    monkeypatch.setattr(disk, "shortage", lambda: "No space on /data.")
    mine, other = (signed_in(user).get("/") for user in (operator, stranger))

    assert "No worker starts steps." in words(mine)
    assert "No space on /data." in words(mine)
    assert "No worker starts steps." not in words(other)


def test_the_keeper_logs_a_finding_once_a_minute(
    proposer, operator, impatient, monkeypatch, caplog
):
    approved(chain(2), proposer, operator)
    monkeypatch.setattr(sweep, "_FINDINGS", watch.FindingLog())
    monkeypatch.setattr(watch, "EVERY_S", 0.0)
    with caplog.at_level(logging.WARNING, "orchestration.runs.pages.watch"):
        swept = [sweep.sweep(at=clock.now()).watched for _ in range(3)]

    assert swept == [1, 1, 1]
    assert [each.message for each in caplog.records].count(
        "No worker starts steps. 1 ready steps have waited for a worker for -1 s or"
        " longer. Start a worker, and check its log."
    ) == 1


def test_a_run_that_waits_for_nothing_is_continued(
    proposer, operator, worker, monkeypatch
):
    """As if a release had a gap: the step before has ended, and no one went on."""
    run = approved(chain(2), proposer, operator)
    lease = claimed(run, "s0")
    monkeypatch.setattr(attempts, "advance", lambda change: None)
    assert completed(lease) is None
    monkeypatch.undo()

    assert sweep.sweep(at=clock.now()).stuck == 1
    assert sweep.sweep(at=clock.now()).stuck == 0
    assert driven(run, worker).state == "succeeded"
    assert is_whole(run)


def test_a_run_that_cannot_be_continued_is_reported_and_left_alone(
    proposer, operator, monkeypatch
):
    run = approved(chain(2), proposer, operator)
    lease = claimed(run, "s0")
    monkeypatch.setattr(attempts, "advance", lambda change: None)
    completed(lease)
    monkeypatch.setattr(sweep, "advance", lambda change: None)
    for _ in range(4):
        sweep.sweep(at=clock.now())

    failure = SweepFailure.objects.get()
    assert (failure.duty, failure.failures) == ("stuck", 3)
    assert kinds(run).count("run.sweep_failed") == 1
    page = signed_in(operator).get(f"/runs/{run.pk}")
    assert "Cannot continue the run" in words(page)


def test_each_kind_of_trouble_is_detected(
    proposer, operator, worker, witness, monkeypatch
):
    text = plan(
        step("slow", "misbehave", params={"how": "hang"}, timeout="1s"),
        step("error", "misbehave", params={"how": "fail"}),
        step("crash", "witness", params={"mark": "x"}),
        step("cascade", after=["error"]),
        {"id": "lost", "kind": "wait", "event": {"type": "go"}, "expiresIn": "1s"},
        onFailure="continue",
        parallel=True,
    )
    run = approved(text, proposer, operator)
    later = clock.now() + timedelta(minutes=1)

    # A gap in the routing: no worker takes what is ready. The hint was lost, too.
    monkeypatch.setattr(watch, "LONG_S", -1.0)
    assert codes() == ["no_worker"]
    hinted: list[UUID] = []
    monkeypatch.setattr(dispatch, "send", hinted.extend)
    sweep.sweep(at=later)
    assert {row.key for row in run.steps.filter(pk__in=hinted)} >= {"slow", "error"}

    claimed(run, "crash")
    for key in ("slow", "error"):
        work.work(step_run_id=run.steps.get(key=key).pk, context=worker)
    lapse(run.steps.get(key="crash"))
    sweep.sweep(at=later)

    found = {row.key: (row.error or {}).get("code") for row in run.steps.all()}
    assert found == {
        "slow": "step.timed_out",
        "error": "lab.refused",
        "crash": "step.worker_lost",
        "cascade": "step.upstream_failed",
        "lost": "wait.expired",
    }
