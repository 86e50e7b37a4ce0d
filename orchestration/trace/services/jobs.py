"""Verification as a job: a worker takes it stream by stream, in turns, under a lease.

The only code that writes a job's state. A job that lost its worker continues after the
last stream that was verified.
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
from orchestration.runs.domain.states import JOB, JobEvent, JobState
from orchestration.trace.errors import VerificationUnknown
from orchestration.trace.models import VerificationJob
from orchestration.trace.services import streams

TURN_SECONDS = 10.0
"""After a turn the job goes back to the queue, so that steps get their turn."""
LEASE = timedelta(minutes=5)
"""Longer than the verification of any one stream should take."""
MOST_TRIES = 3
"""Workers that may be lost in the same stream before the job fails."""
MOST_FINDINGS = 200
HINT_AGAIN = 30

_LAPSED = """
UPDATE runs_verificationjob SET lease_until = NULL,
  state = CASE WHEN tries < %s THEN 'queued' ELSE 'failed' END,
  finished_at = CASE WHEN tries < %s THEN NULL ELSE clock_timestamp() END,
  error = CASE WHEN tries < %s THEN '' ELSE
    'The verification stopped several times after the stream "' || last || '".' END
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
    """Ask for a verification of one stream, or of all for an empty one.

    A job that is still open for the same stream is returned instead of a second one.

    :raises RightMissing: without the right to read the whole record
    :raises StreamUnknown: when there is no such stream and no row needs it
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
            dispatch.hint_verification(job.pk)
    except IntegrityError:
        # It may have finished since; then it has just answered the question.
        return VerificationJob.objects.filter(stream=stream).latest("pk")
    return job


def get(*, job_id: UUID, by: Actor) -> VerificationJob:
    """Return one job.

    :raises RightMissing: without the right to read the whole record
    :raises VerificationUnknown: when there is none
    """
    require(by, Right.TRACE)
    job = VerificationJob.objects.filter(pk=job_id).first()
    if job is None:
        raise VerificationUnknown(verification=str(job_id))
    return job


def recent(*, by: Actor, limit: int = 10) -> list[VerificationJob]:
    """Return the last jobs, newest first.

    :raises RightMissing: without the right to read the whole record
    """
    require(by, Right.TRACE)
    return list(VerificationJob.objects.order_by("-pk")[:limit])


def work(*, job_id: UUID, at: datetime) -> None:
    """Take a queued job one turn further; a stale or doubled hint does nothing."""
    job = _claim(job_id, at)
    if job is None:
        return
    until = time.monotonic() + TURN_SECONDS
    while following := _next(job):
        for stream, needed in following:
            result = streams.verify_stream(stream, expected=needed)
            if not _progressed(job, result):
                return
            if time.monotonic() > until:
                _move(job, JobEvent.RELEASED, tries=0)
                dispatch.hint_verification(job_id)
                return
    _move(job, JobEvent.FINISHED, finished_at=Now())


def sweep(at: datetime) -> int:
    """Give back jobs whose worker was lost, and hint again those that wait."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LAPSED, [MOST_TRIES] * 3)
        cursor.execute(_HINT, [at, at, HINT_AGAIN])
        ids = [row[0] for row in cursor.fetchall()]
        for job_id in ids:
            dispatch.hint_verification(job_id)
    return len(ids)


def _claim(job_id: UUID, at: datetime) -> VerificationJob | None:
    job = VerificationJob.objects.filter(pk=job_id, state=JobState.QUEUED).first()
    if job is None:
        return None
    taken = _move(
        job,
        JobEvent.CLAIMED,
        fence=job.fence + 1,
        tries=job.tries + 1,
        lease_until=Now() + LEASE,
        started_at=job.started_at or at,
        total=1 if job.stream else streams.count(),
    )
    if taken:
        job.refresh_from_db()
    return job if taken else None


def _next(job: VerificationJob) -> list[tuple[str, bool]]:
    """The streams that follow; `last` is the one that was verified last."""
    if not job.stream:
        return streams.register(job.last)
    return [] if job.last else [(job.stream, True)]


def _progressed(job: VerificationJob, result: Verified) -> bool:
    """Add the result of one stream; False when the job is another worker's now."""
    found = [asdict(one) for one in (result.broken, *result.differences) if one]
    job.findings = [*job.findings, *found][:MOST_FINDINGS]
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
    """Move a job by the table; False when it is not as it was read any more."""
    state = JOB.next(JobState(job.state), event)
    if state is not JobState.RUNNING:
        values["lease_until"] = None
    return _as_read(job).update(state=state, **values) == 1


def _as_read(job: VerificationJob) -> "QuerySet[VerificationJob]":
    held = {"fence": job.fence, "state": job.state}
    return VerificationJob.objects.filter(pk=job.pk, **held)
