"""Verify the record: the run's own or a short stream at once, anything as a job.

The operations have the ids under which clients know them.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Router, Schema, Status

from audit.api import VerifiedOut, verified
from execfabric.identity.http import ApiRequest, Holding
from execfabric.lib import clock
from execfabric.lib.rights import Right
from orchestration.runs import selectors
from orchestration.runs.domain.states import JobState
from orchestration.trace.errors import RecordTooLong
from orchestration.trace.models import VerificationJob
from orchestration.trace.services import jobs, streams

router = Router()
of_a_run = Router(tags=["runs"])
of_streams = Router(tags=["trace"], auth=Holding(Right.TRACE))
router.add_router("", of_a_run)
router.add_router("", of_streams)

Stream = Annotated[str, Field(max_length=80)]


class VerifyIn(Schema):
    """What to verify."""

    stream: Stream = ""
    """Empty for the whole record."""


class JobOut(Schema):
    """A verification and what it found so far."""

    id: UUID
    stream: str
    state: JobState
    verified: bool = Field(alias="is_whole")
    """Whether it finished and found nothing."""
    asked_by: str
    asked_by_name: str
    asked_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int
    """Streams to verify."""
    done: int
    events: int
    outputs: int
    uncovered: int
    broken: int
    """Streams in which something was found."""
    findings: list[dict[str, Any]]
    """The first breaks (`seq`, `reason`) and differences (`table`, `column`)."""
    error: str


@of_a_run.get(
    "/runs/{uuid:run_id}/trace:verify",
    response=VerifiedOut,
    operation_id="orchestration_runs_api_reads_verify_trace",
)
def verify_trace(request: ApiRequest, run_id: UUID) -> VerifiedOut:
    """Check the record of a run, and the stored rows against it; name what differs.

    A long record is refused: verify it with `POST /trace:verify`.
    """
    return _verified_now(selectors.get(request.auth, run_id).stream)


@of_streams.post(
    "/trace:verify",
    response={202: JobOut},
    operation_id="orchestration_runs_api_verification_start",
)
def start(request: ApiRequest, body: VerifyIn) -> Status[VerificationJob]:
    """Verify one stream or the whole record in the background.

    A verification of the same that is still running is returned instead.
    """
    job = jobs.start(stream=body.stream, by=request.auth, at=clock.now())
    return Status(202, job)


@of_streams.get(
    "/trace/verifications/{uuid:job_id}",
    response=JobOut,
    operation_id="orchestration_runs_api_verification_progress",
)
def progress(request: ApiRequest, job_id: UUID) -> VerificationJob:
    """The progress of a verification, and what it found."""
    return jobs.get(job_id=job_id, by=request.auth)


@of_streams.get(
    "/trace/verify",
    response=VerifiedOut,
    operation_id="orchestration_runs_api_verification_verify",
)
def verify(request: ApiRequest, stream: Stream) -> VerifiedOut:  # noqa: ARG001
    """Verify one short stream now; a long one is refused."""
    return _verified_now(stream)


def _verified_now(stream: str) -> VerifiedOut:
    result = streams.verify_now(stream)
    if result is None:
        raise RecordTooLong(stream=stream)
    return verified(result)
