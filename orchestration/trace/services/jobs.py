"""Verification jobs: a worker verifies stream by stream, in turns, under a lease.

Only this module writes the state of a job. If its worker is lost, another one
continues after the last verified stream.
"""

import time
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from audit.domain.chain import Verified
from audit.errors import StreamUnknown
from execfabric.identity.authority import require
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from orchestration.runs import dispatch
from orchestration.trace.domain.states import JOB, JobEvent, JobState
from orchestration.trace.errors import VerificationUnknown
from orchestration.trace.models import VerificationJob
from orchestration.trace.services import streams

VERIFY = "runs.verify"
"""The name of the Celery task that continues a job."""
TURN_SECONDS = 10.0
"""Seconds after which the job is requeued, so that steps can run."""
LEASE = timedelta(minutes=5)
"""Lease of a job, longer than the verification of one stream should take."""
MOST_TRIES = 3
"""Workers that can be lost in one stream before the job fails."""
MOST_FINDINGS = 200
HINT_AGAIN = 30

_LAPSED = """
UPDATE runs_verificationjob SET lease_until = NULL,
  state = CASE WHEN tries < %s THEN 'queued' ELSE 'failed' END,
  finished_at = CASE WHEN tries < %s THEN NULL ELSE clock_timestamp() END,
  error = CASE WHEN tries < %s THEN '' ELSE
    'Verification failed: the worker was lost several times after stream "' || last || '".' END
WHERE state = 'running' AND lease_until < clock_timestamp()
"""
_HINT = """
UPDATE runs_verificationjob SET hinted_at = %s WHERE id IN (
  SELECT id FROM runs_verificationjob
  WHERE state = 'queued' AND (hinted_at IS NULL OR hinted_at < %s - %s * interval '1 s')
  ORDER BY asked_at LIMIT 50 FOR UPDATE SKIP LOCKED
) RETURNING id
"""


def start(*, stream: str, by: Actor, at: datetime) -> VerificationJob:
    """Start a verification of one stream, or of all if `stream` is empty.

    If the same verification is already open, return it instead.

    :raises RightMissing: if `by` may not read the whole audit log
    :raises StreamUnknown: if the stream does not exist and no row needs it
    """
    require(by, Right.TRACE)
    if stream and not streams.needs(stream):
        raise StreamUnknown(stream=stream)
    try:
        with transaction.atomic():
            job = VerificationJob.objects.create(
                stream=stream,
                asked_by=by.key,
                asked_by_name=by.name,
                asked_at=at,
                hinted_at=at,
            )
            _send_hint(job.pk)
    except IntegrityError:
        # The open job may have finished since; then its result is current.
        return VerificationJob.objects.filter(stream=stream).latest("pk")
    return job


def get(*, job_id: UUID, by: Actor) -> VerificationJob:
    """Return a verification job.

    :raises RightMissing: if `by` may not read the whole audit log
    :raises VerificationUnknown: if the job does not exist
    """
    require(by, Right.TRACE)
    job = VerificationJob.objects.filter(pk=job_id).first()
    if job is None:
        raise VerificationUnknown(verification=str(job_id))
    return job


def recent(*, by: Actor, limit: int = 10) -> list[VerificationJob]:
    """Return the latest jobs, newest first.

    :raises RightMissing: if `by` may not read the whole audit log
    """
    require(by, Right.TRACE)
    return list(VerificationJob.objects.order_by("-pk")[:limit])


def work(*, job_id: UUID, at: datetime) -> None:
    """Continue a queued job for one turn; an outdated hint does nothing."""
    job = _claim(job_id, at)
    if job is None:
        return
    until = time.monotonic() + TURN_SECONDS
    while next_streams := _next(job):
        for stream, needed in next_streams:
            result = streams.verify_stream(stream, expected=needed)
            if not _progressed(job, result):
                return
            if time.monotonic() > until:
                _move(job, JobEvent.RELEASED, tries=0)
                _send_hint(job_id)
                return
    _move(job, JobEvent.FINISHED, finished_at=Now())


def sweep(at: datetime) -> int:
    """Queue jobs whose worker was lost, and send hints for queued jobs."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LAPSED, [MOST_TRIES] * 3)
        cursor.execute(_HINT, [at, at, HINT_AGAIN])
        ids = [row[0] for row in cursor.fetchall()]
        for job_id in ids:
            _send_hint(job_id)
    return len(ids)


def _send_hint(job_id: UUID) -> None:
    """Notify the workers after the commit that a job is queued; a hint may be lost."""

    def publish() -> None:
        dispatch.send_tasks(VERIFY, [{"job_id": str(job_id)}])

    transaction.on_commit(publish, robust=True)


def _claim(job_id: UUID, at: datetime) -> VerificationJob | None:
    job = VerificationJob.objects.filter(pk=job_id, state=JobState.QUEUED).first()
    if job is None:
        return None
    claimed = _move(
        job,
        JobEvent.CLAIMED,
        fence=job.fence + 1,
        tries=job.tries + 1,
        lease_until=Now() + LEASE,
        started_at=job.started_at or at,
        total=1 if job.stream else streams.count(),
    )
    if claimed:
        job.refresh_from_db()
    return job if claimed else None


def _next(job: VerificationJob) -> list[tuple[str, bool]]:
    if not job.stream:
        return streams.register(job.last)
    return [] if job.last else [(job.stream, True)]


def _progressed(job: VerificationJob, result: Verified) -> bool:
    """Add the result of one stream; return False if another worker has the job."""
    findings = [asdict(item) for item in (result.broken, *result.differences) if item]
    job.findings = [*job.findings, *findings][:MOST_FINDINGS]
    job.last = result.stream
    values: dict[str, Any] = {
        "last": result.stream,
        "findings": job.findings,
        "tries": 1,
        "done": F("done") + 1,
        "events": F("events") + result.events,
        "outputs": F("outputs") + result.outputs,
        "uncovered": F("uncovered") + result.uncovered,
        "broken": F("broken") + int(not result.whole),
    }
    return bool(_as_read(job).update(**values))


def _move(job: VerificationJob, event: JobEvent, **values: Any) -> bool:
    """Change the state of a job; return False if it changed since it was read."""
    state = JOB.next(JobState(job.state), event)
    if state is not JobState.RUNNING:
        values["lease_until"] = None
    return _as_read(job).update(state=state, **values) == 1


def _as_read(job: VerificationJob) -> "QuerySet[VerificationJob]":
    held = {"fence": job.fence, "state": job.state}
    return VerificationJob.objects.filter(pk=job.pk, **held)
