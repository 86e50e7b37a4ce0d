"""One run that cannot be swept neither stops nor starves the others."""

import hashlib
import os
from collections import Counter
from datetime import timedelta

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from audit import selectors as audit
from audit.models import Event
from execfabric.lib import clock
from orchestration.runs.control import proposals
from orchestration.runs.keeper import sweep
from orchestration.runs.models import DryRun, Run, SweepFailure
from orchestration.runs.pages import run_waits
from tests.builders import approved, claimed, plan, proposed, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
PATIENCE = 3
"""Failures in a row after which the keeper pauses."""


def executed(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def unreadable(run):
    """Replace the run's document by bytes that are not a document."""
    body = b"no document"
    digest = hashlib.sha256(b"execfabric/plan/v1\n" + body).hexdigest()
    executed("ALTER TABLE plans_planrevision DISABLE TRIGGER insert_only")
    executed(
        "UPDATE plans_planrevision SET body = %s, digest = %s WHERE id = %s",
        *(body, digest, run.revision_id),
    )
    executed("ALTER TABLE plans_planrevision ENABLE TRIGGER insert_only")


def repaired(run, body):
    digest = hashlib.sha256(b"execfabric/plan/v1\n" + body).hexdigest()
    executed("ALTER TABLE plans_planrevision DISABLE TRIGGER insert_only")
    executed(
        "UPDATE plans_planrevision SET body = %s, digest = %s WHERE id = %s",
        *(body, digest, run.revision_id),
    )
    executed("ALTER TABLE plans_planrevision ENABLE TRIGGER insert_only")


class Due:
    """Runs in which the keeper has something to do, per duty."""

    def __init__(self, proposer, operator):
        self.people = proposer, operator

    def leases(self, name):
        run = self._approved(name)
        claimed(run, "one")
        executed(
            "UPDATE runs_steprun SET lease_until = clock_timestamp() - interval '1 s'"
            " WHERE run_id = %s",
            run.id,
        )
        return run

    def waits(self, name):
        run = self._approved(name)
        executed(
            "UPDATE runs_steprun SET state = 'backoff', not_before = now() -"
            " interval '1 s' WHERE run_id = %s",
            run.id,
        )
        return run

    def gates(self, name):
        return proposed(self._text(name), self.people[0])

    def stops(self, name):
        run = self._approved(name)
        executed("UPDATE runs_run SET state = 'pausing' WHERE id = %s", run.id)
        return run

    def dry_runs(self, name):
        run = proposals.propose(
            text=self._text(name),
            inputs={},
            by=self.people[0].actor(),
            at=clock.now() - timedelta(hours=1),
        )
        DryRun.objects.update(created_at=clock.now() - timedelta(hours=1))
        return run

    def _text(self, name):
        return plan(step("one", "witness-again", params={"mark": name}), id=name)

    def _approved(self, name):
        return approved(self._text(name), *self.people)


DUTIES = ["leases", "waits", "gates", "stops", "dry_runs"]


@pytest.fixture
def due(proposer, operator):
    return Due(proposer, operator)


def snapshot(run):
    """Return the states of a run: what a sweep that did its duty has changed."""
    run = Run.objects.get(pk=run.pk)
    dry_run = DryRun.objects.get(run=run).state
    return run.state, dry_run, [step.state for step in run.steps.order_by("position")]


def failures(run):
    """Return what the run's stream says about failed sweeps."""
    events = Event.objects.filter(stream=run.stream, kind="run.sweep_failed")
    return [audit.envelope(event)["payload"] for event in events.order_by("seq")]


def at(duty, seconds=0.0):
    """Return a time at which the duty is due."""
    late = timedelta(days=30) if duty == "gates" else timedelta()
    return clock.now() + late + timedelta(seconds=seconds)


@pytest.mark.parametrize("duty", DUTIES)
def test_a_run_that_cannot_be_read_does_not_stop_the_others(duty, due):
    bad, good = (getattr(due, duty)(name) for name in ("bad", "good"))
    unreadable(bad)
    before = snapshot(bad), snapshot(good)

    sweep.sweep(at=at(duty))

    assert snapshot(bad) == before[0]
    assert snapshot(good) != before[1]


@pytest.mark.parametrize("duty", DUTIES)
def test_a_run_that_cannot_be_swept_is_tried_again_with_growing_pauses(duty, due):
    run = getattr(due, duty)("bad")
    body = bytes(run.revision.body)
    unreadable(run)
    before = snapshot(run)
    for second in range(PATIENCE):
        assert failures(run) == []
        sweep.sweep(at=at(duty, second))
    [said] = failures(run)
    repaired(run, body)

    sweep.sweep(at=at(duty, PATIENCE + 1))
    assert snapshot(run) == before
    sweep.sweep(at=at(duty, PATIENCE + 60))

    assert snapshot(run) != before
    assert said["code"] == "run.sweep_failed"
    assert said["failures"] == PATIENCE
    assert said["message"].startswith("Cannot ")
    assert "Traceback" not in str(said)


def test_a_run_whose_row_is_locked_does_not_stop_the_others(due):
    bad, good = due.leases("bad"), due.leases("good")
    executed("SET lock_timeout = '200ms'")
    try:
        with psycopg.connect(os.environ["DATABASE_URL"], dbname=database()) as other:
            other.execute("SELECT 1 FROM runs_run WHERE id = %s FOR UPDATE", [bad.id])
            sweep.sweep(at=clock.now())
    finally:
        executed("RESET lock_timeout")

    assert snapshot(bad)[2] == ["running"]
    assert snapshot(good)[2] == ["ready"]


@pytest.fixture
def cutting():
    """Break the connection at each write of a run's steps."""
    yield lambda run: executed(
        f"""CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.run_id = '{run.id}' THEN
          PERFORM pg_terminate_backend(pg_backend_pid());
          PERFORM pg_sleep(1);
        END IF;
        RETURN NEW; END $$;
        CREATE TRIGGER cut BEFORE UPDATE ON runs_steprun
        FOR EACH ROW EXECUTE FUNCTION cut()"""
    )
    executed("DROP TRIGGER cut ON runs_steprun; DROP FUNCTION cut()")


def test_a_run_whose_change_ends_the_connection_does_not_stop_the_others(due, cutting):
    bad, good = due.leases("bad"), due.leases("good")
    cutting(bad)

    for _ in range(PATIENCE):
        sweep.sweep(at=clock.now())

    assert snapshot(bad)[2] == ["running"]
    assert snapshot(good)[2] == ["ready"]
    assert len(failures(bad)) == 1


def test_many_bad_runs_do_not_starve_the_others(due):
    bad, good = due.leases("bad"), due.leases("good")
    unreadable(bad)
    executed("UPDATE runs_steprun SET lease_until = now() - interval '1 hour'")
    for table, columns in (
        ("runs_run", {"id": "gen_random_uuid()"}),
        ("runs_steprun", {"id": "gen_random_uuid()", "run_id": "run.id"}),
    ):
        copied_columns(table, columns, of=bad)
    executed(
        "UPDATE runs_steprun SET lease_until = now() - interval '1 min' WHERE run_id = %s",
        good.id,
    )

    for run in Run.objects.exclude(pk=good.pk):
        SweepFailure.objects.create(
            subject=run.pk, duty="leases", failures=PATIENCE - 1, retry_at=clock.now()
        )

    # Both from one reading of the clock: the first sweep may take long.
    first = at("leases")
    for second in range(2):
        sweep.sweep(at=first + timedelta(seconds=second))

    assert Run.objects.count() > sweep.BATCH
    assert snapshot(good)[2] == ["ready"]


def copied_columns(table, columns, *, of):
    """Copy the rows of a run for as many runs as one sweep takes."""
    names = [
        name
        for (name,) in executed(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
            " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            table,
        )
    ]
    values = ", ".join(columns.get(name, f"old.{name}") for name in names)
    if table == "runs_run":
        source = f"runs_run AS old, generate_series(1, {sweep.BATCH}) WHERE old.id = %s"
    else:
        source = (
            "runs_steprun AS old, runs_run AS run WHERE old.run_id = %s"
            " AND NOT EXISTS (SELECT FROM runs_steprun WHERE run_id = run.id)"
        )
    executed(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {source}", of.id
    )


@pytest.fixture
def no_verifications():
    """No verification can be looked at: its table has another name."""
    executed("ALTER TABLE runs_verificationjob RENAME TO away")
    yield
    executed("ALTER TABLE away RENAME TO runs_verificationjob")


@pytest.mark.usefixtures("no_verifications")
def test_a_duty_that_fails_stops_neither_the_others_nor_the_keeper(due):
    run = due.leases("lost")
    waiting = due.dry_runs("waiting")

    call_command("keeper", "--once")

    assert snapshot(run)[2] == ["ready"]
    assert snapshot(waiting)[1] == "incomplete"


def test_the_page_of_a_run_shows_what_the_keeper_cannot_do(due):
    run = due.leases("bad")
    later = clock.now() + timedelta(seconds=40)
    row = SweepFailure.objects.create(
        subject=run.pk, duty="leases", failures=PATIENCE, retry_at=later
    )

    [wait], _ = run_waits.waits_of(run, Counter(), clock.now())
    row.failures = PATIENCE - 1
    row.save()
    no_waits, _ = run_waits.waits_of(run, Counter(), clock.now())

    assert wait.text == (
        "Cannot recover a step whose worker was lost: 3 attempts failed."
        f" The keeper retries at {later:%H:%M:%S} UTC."
    )
    assert no_waits == []


def database():
    return str(connection.settings_dict["NAME"])
