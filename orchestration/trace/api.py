"""Search and verify the audit log.

A run or a short stream is verified at once, longer ones by a job. The operation ids
are those that clients know.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Query, Router, Schema, Status

from audit import selectors as audit
from audit.api import EventList, PageSize, VerifiedOut, entry
from audit.domain.chain import Verified
from audit.errors import CursorUnknown
from execfabric.identity.http import ApiRequest, Holding
from execfabric.lib import clock
from execfabric.lib.rights import Right
from orchestration.runs import selectors
from orchestration.trace.domain.states import JobState
from orchestration.trace.errors import RecordTooLong
from orchestration.trace.models import VerificationJob
from orchestration.trace.selectors import LogFilter, search
from orchestration.trace.services import jobs, streams

router = Router()
of_a_run = Router(tags=["runs"])
of_streams = Router(tags=["trace"], auth=Holding(Right.TRACE))
router.add_router("", of_a_run)
router.add_router("", of_streams)

StreamKey = Annotated[str, Field(max_length=80)]


class TraceQuery(LogFilter, frozen=True):
    """The filters of a search; an empty one does not restrict."""

    before: Annotated[str, Field(max_length=100)] = ""
    limit: PageSize = 100


class VerifyIn(Schema):
    """The stream to verify."""

    stream: StreamKey = ""
    """Empty for the whole audit log."""


class JobOut(Schema):
    """A verification and its findings so far."""

    id: UUID
    stream: str
    state: JobState
    verified: bool = Field(alias="is_whole")
    """True if it finished without findings."""
    asked_by: str
    asked_by_name: str
    asked_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int
    """The number of streams to verify."""
    done: int
    events: int
    outputs: int
    uncovered: int
    broken: int
    """The number of streams with findings."""
    findings: list[dict[str, Any]]
    """The first breaks (`seq`, `reason`) and differences (`table`, `column`)."""
    error: str


@of_streams.get("/trace", response=EventList, operation_id="audit_api_search")
def search_events(request: ApiRequest, query: Query[TraceQuery]) -> EventList:  # noqa: ARG001
    """Search the events of all streams, newest first."""
    before = audit.event_at(query.before)
    if query.before and before is None:
        raise CursorUnknown(before=query.before)
    events = list(search(query, before=before)[: query.limit])
    is_full = len(events) == query.limit
    return EventList(
        items=[entry(event) for event in events],
        next=audit.cursor_of(events[-1]) if is_full else None,
    )


@of_a_run.get(
    "/runs/{uuid:run_id}/trace:verify",
    response=VerifiedOut,
    operation_id="orchestration_runs_api_reads_verify_trace",
)
def verify_trace(request: ApiRequest, run_id: UUID) -> Verified:
    """Verify the events of a run and the stored rows; name each difference.

    A run with too many events is refused: use `POST /trace:verify`.
    """
    return _verified_now(selectors.get(request.auth, run_id).stream)


@of_streams.post(
    "/trace:verify",
    response={202: JobOut},
    operation_id="orchestration_runs_api_verification_start",
)
def start(request: ApiRequest, body: VerifyIn) -> Status[VerificationJob]:
    """Verify one stream or the whole audit log in the background.

    If the same verification is still running, it is returned instead.
    """
    job = jobs.start(stream=body.stream, by=request.auth, at=clock.now())
    return Status(202, job)


@of_streams.get(
    "/trace/verifications/{uuid:job_id}",
    response=JobOut,
    operation_id="orchestration_runs_api_verification_progress",
)
def progress(request: ApiRequest, job_id: UUID) -> VerificationJob:
    """Return the progress and the findings of a verification."""
    return jobs.get(job_id=job_id, by=request.auth)


@of_streams.get(
    "/trace/verify",
    response=VerifiedOut,
    operation_id="orchestration_runs_api_verification_verify",
)
def verify(request: ApiRequest, stream: StreamKey) -> Verified:  # noqa: ARG001
    """Verify one short stream now. A long one is refused."""
    return _verified_now(stream)


def _verified_now(stream: str) -> Verified:
    result = streams.verify_now(stream)
    if result is None:
        raise RecordTooLong(stream=stream)
    return result
