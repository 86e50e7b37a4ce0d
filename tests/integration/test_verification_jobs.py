"""A verification is a job: taken in turns under a lease, and safe to interrupt."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from audit.errors import StreamUnknown
from execfabric.identity.errors import RightMissing
from execfabric.lib import clock
from orchestration.runs.keeper import sweep
from orchestration.trace.models import VerificationJob
from orchestration.trace.services import jobs, streams
from tests.builders import chain, proposed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


@pytest.fixture
def job(proposer, auditor) -> VerificationJob:
    proposed(chain(1), proposer)
    return jobs.start(stream="", by=auditor.actor(), at=clock.now())


def worked(job: VerificationJob) -> VerificationJob:
    """Return the job after one turn of a worker."""
    jobs.work(job_id=job.pk, at=clock.now())
    job.refresh_from_db()
    return job


def test_a_job_verifies_every_stream(job):
    job = worked(job)

    assert (job.state, job.broken, job.findings) == ("finished", 0, [])
    assert job.done == job.total == streams.count() >= 2
    assert job.events > 0


def test_a_second_request_joins_the_open_job(job, operator, auditor):
    again = jobs.start(stream="", by=operator.actor(), at=clock.now())
    worked(job)
    later = jobs.start(stream="", by=operator.actor(), at=clock.now())

    assert again.pk == job.pk
    assert later.pk != job.pk


def test_who_may_not_read_the_record_may_not_verify_it(proposer):
    with pytest.raises(RightMissing):
        jobs.start(stream="", by=proposer.actor(), at=clock.now())


def test_an_unknown_stream_is_refused(auditor):
    with pytest.raises(StreamUnknown):
        jobs.start(stream="no", by=auditor.actor(), at=clock.now())


def test_a_turn_ends_and_the_next_worker_continues(job, monkeypatch):
    monkeypatch.setattr(jobs, "TURN_SECONDS", -1.0)

    first = worked(job)
    seen = (first.state, first.done, first.last)
    for _ in range(first.total):
        worked(job)

    assert seen[:2] == ("queued", 1)
    assert seen[2]
    assert (job.state, job.done) == ("finished", job.total)


def test_a_doubled_hint_changes_nothing(job):
    before = worked(job).finished_at

    assert worked(job).finished_at == before


def test_a_lost_worker_leaves_the_job_to_the_next(job):
    lose(job)

    sweep.sweep(at=clock.now())
    job.refresh_from_db()

    assert (job.state, job.lease_until) == ("queued", None)
    assert worked(job).state == "finished"


def test_a_job_that_loses_its_workers_again_and_again_fails(job):
    for _ in range(jobs.MOST_TRIES):
        lose(job)
        sweep.sweep(at=clock.now())
    job.refresh_from_db()

    assert job.state == "failed"
    assert "the worker was lost several times" in job.error


def test_a_worker_that_lost_its_lease_writes_nothing(job):
    held = jobs._claim(job.pk, clock.now())
    lapse()
    sweep.sweep(at=clock.now())
    result = streams.verify_stream("registry")

    assert not jobs._progressed(held, result)
    job.refresh_from_db()
    assert (job.done, job.last) == (0, "")


def test_a_lost_hint_is_sent_again(job):
    later = clock.now() + timedelta(minutes=5)

    assert jobs.sweep(at=clock.now()) == 0
    assert jobs.sweep(at=later) == 1


def test_a_deleted_head_does_not_hide_a_stream(proposer, auditor):
    run = proposed(chain(1), proposer)
    past_the_guards("DELETE FROM audit_stream WHERE key = %s", run.stream)

    [found] = [r for r in streams.verify_all() if not r.whole]
    with pytest.raises(SystemExit):
        _command()

    assert found.stream == run.stream
    assert "the row of the stream is missing" in found.broken.reason


def test_a_stream_without_head_is_verified_beside_many_others(proposer, auditor):
    run = proposed(chain(1), proposer)
    past_the_guards("DELETE FROM audit_stream WHERE key = %s", run.stream)
    past_the_guards(
        "INSERT INTO audit_stream (key, last_seq, head)"
        " SELECT 'a' || n, 0, decode(repeat('00', 32), 'hex')"
        " FROM generate_series(1, %s) AS n",
        500,
    )

    job = worked(jobs.start(stream=run.stream, by=auditor.actor(), at=clock.now()))

    assert (job.state, job.broken) == ("finished", 1)


def test_an_emptied_and_registered_stream_is_found(proposer):
    run = proposed(chain(1), proposer)
    past_the_guards("DELETE FROM audit_event WHERE stream = %s", run.stream)
    past_the_guards(
        "UPDATE audit_stream SET last_seq = 0, head = decode(repeat('00', 32), 'hex')"
        " WHERE key = %s",
        run.stream,
    )

    found = streams.verify_stream(run.stream)

    assert found.broken is None
    assert {item.table for item in found.differences} >= {"runs_run", "runs_steprun"}


def test_a_cut_off_tail_with_its_head_is_found_by_the_tables(proposer):
    run = proposed(chain(1), proposer)
    past_the_guards("DELETE FROM audit_event WHERE stream = %s AND seq > 1", run.stream)
    past_the_guards(
        "UPDATE audit_stream SET last_seq = 1, head = (SELECT hash FROM audit_event"
        " WHERE stream = key AND seq = 1) WHERE key = %s",
        run.stream,
    )

    found = streams.verify_stream(run.stream)

    assert found.broken is None
    assert "approvals_gate" in {item.table for item in found.differences}


def test_swapped_streams_are_found(proposer):
    one, two = proposed(chain(1), proposer), proposed(chain(2), proposer)
    past_the_guards("UPDATE audit_event SET stream = 'x' WHERE stream = %s", one.stream)
    past_the_guards(
        "UPDATE audit_event SET stream = %s WHERE stream = %s", one.stream, two.stream
    )
    past_the_guards("UPDATE audit_event SET stream = %s WHERE stream = 'x'", two.stream)

    broken = {r.stream for r in streams.verify_all() if r.broken}

    assert broken == {one.stream, two.stream}


def _command() -> None:
    try:
        call_command("verify_trace")
    except Exception as error:
        raise SystemExit(1) from error


def lose(job: VerificationJob) -> None:
    """Have a worker take the job and vanish."""
    jobs._claim(job.pk, clock.now())
    lapse()


def lapse() -> None:
    VerificationJob.objects.filter(state="running").update(
        lease_until=clock.now() - timedelta(seconds=1)
    )


def past_the_guards(statement: str, *values: object) -> None:
    """Change the record as the owner of its tables could."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("audit_event", "audit_stream"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(
            "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'f'"
            " AND confrelid = 'audit_stream'::regclass"
        )
        for table, name in cursor.fetchall():
            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        cursor.execute(statement, values)
