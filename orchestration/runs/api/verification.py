"""Verify the record: one short stream at once, anything as a job.

Whoever mounts the router asks for the right to read the whole record.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Router, Schema, Status

from audit.api import VerifiedOut, verified
from execfabric.accounts.http import ApiRequest
from execfabric.lib import clock
from orchestration.runs.domain.states import JobState
from orchestration.runs.errors import RecordTooLong
from orchestration.runs.models import VerificationJob
from orchestration.runs.services import verification, verification_jobs

router = Router(tags=["trace"])
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


@router.post("/trace:verify", response={202: JobOut})
def start(request: ApiRequest, body: VerifyIn) -> Status[VerificationJob]:
    """Verify one stream or the whole record in the background.

    A verification of the same that is still running is returned instead.
    """
    job = verification_jobs.start(stream=body.stream, by=request.auth, at=clock.now())
    return Status(202, job)


@router.get("/trace/verifications/{uuid:job_id}", response=JobOut)
def progress(request: ApiRequest, job_id: UUID) -> VerificationJob:
    """The progress of a verification, and what it found."""
    return verification_jobs.get(job_id=job_id, by=request.auth)


@router.get("/trace/verify", response=VerifiedOut)
def verify(request: ApiRequest, stream: Stream) -> VerifiedOut:  # noqa: ARG001
    """Verify one short stream now; a long one is refused."""
    found = verification.verify_now(stream)
    if found is None:
        raise RecordTooLong(stream=stream)
    return verified(found)
