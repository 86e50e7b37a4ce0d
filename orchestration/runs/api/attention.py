"""API of the queue of everything that needs a person."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.urls import reverse
from ninja import Field, Path, Query, Router, Schema

from execfabric.identity.http import ApiRequest, PeopleOnly, absolute
from execfabric.lib import clock
from orchestration.runs.api.acts import Text
from orchestration.runs.api.shapes import Proposed
from orchestration.runs.control import attention as queue
from orchestration.runs.control import reemission
from orchestration.runs.domain.attention import KEY, AttentionItem, AttentionKind
from orchestration.runs.domain.failure_names import FailureName
from orchestration.runs.models import Run
from orchestration.runs.pages import attention, failure_records
from orchestration.runs.pages.failure_records import FailureRecord

router = Router(tags=["attention"])
FailureId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Key = Annotated[str, Path(pattern=f"^{KEY}$")]


class OwnerOut(Schema):
    """The user who takes care of an item."""

    key: str
    name: str
    since: datetime


class AttentionOut(Schema):
    """Something that needs a person."""

    key: str
    kind: str
    title: str
    text: str
    since: datetime | None
    run_id: UUID
    plan: str
    step: str
    proposer: str
    proposer_name: str
    owner: OwnerOut | None
    action: str
    """The smallest useful next action."""
    url: str
    """The page with that action."""

    @staticmethod
    def resolve_title(item: AttentionItem) -> str:
        return item.words.title

    @staticmethod
    def resolve_action(item: AttentionItem) -> str:
        return item.words.action

    @staticmethod
    def resolve_url(item: AttentionItem, context: dict[str, Any]) -> str:
        return absolute(context["request"], attention.url_of(item))


class AttentionList(Schema):
    """The queue, the oldest first."""

    items: list[AttentionOut]


class AttentionQuery(Schema):
    """Filters for the queue."""

    kind: AttentionKind | None = None


class FailureOut(Schema):
    """A failed attempt."""

    id: int = Field(alias="attempt.id")
    name: FailureName
    error: dict[str, Any]
    run_id: UUID = Field(alias="run.id")
    step_run_id: UUID = Field(alias="step.id")
    step: str = Field(alias="step.label")
    step_state: str = Field(alias="step.state")
    """The state of the step now."""
    attempt: int = Field(alias="attempt.fence")
    worker: str = Field(alias="attempt.worker")
    digest: str = Field(alias="attempt.spec_id")
    """The digest of the exact parameters that it was called with."""
    trace_id: str = Field(alias="run.trace_id")
    session_id: str = Field(alias="attempt.session_id")
    started_at: datetime = Field(alias="attempt.started_at")
    ended_at: datetime | None = Field(alias="attempt.ended_at")
    elapsed_ms: int | None
    url: str

    @staticmethod
    def resolve_url(record: FailureRecord, context: dict[str, Any]) -> str:
        path = reverse("step", args=[record.run.pk, record.step.address])
        return absolute(context["request"], path)


class FailureList(Schema):
    """Failed attempts, newest first, and the cursor of the next page."""

    items: list[FailureOut]
    next: int | None


class FailureQuery(Schema):
    """The cursor of the next page, and the size of a page."""

    after: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.get("/failures", response=FailureList)
def list_failures(request: ApiRequest, query: Query[FailureQuery]) -> dict[str, Any]:
    """List failed attempts, newest first, in the runs that the token may see."""
    items, following = failure_records.page(
        request.auth, after=query.after, limit=query.limit
    )
    return {"items": items, "next": following}


class ReEmissionIn(Schema, extra="forbid"):
    """Why the work of a failed attempt is re-emitted."""

    reason: Text = ""
    """Required for a retry of the step."""


@router.post("/failures/{failure_id}:re-emit", response=Proposed, auth=PeopleOnly())
def re_emit(request: ApiRequest, failure_id: FailureId, body: ReEmissionIn) -> Run:
    """Retry the step of a failed attempt; of a run that has ended, propose it again."""
    by, at = request.auth, clock.now()
    return reemission.re_emit(failure_id=failure_id, reason=body.reason, by=by, at=at)


@router.get("/attention", response=AttentionList)
def list_attention(
    request: ApiRequest, query: Query[AttentionQuery]
) -> dict[str, list[AttentionItem]]:
    """List what needs a person in the runs that the holder of the token may see."""
    items = queue.queue(request.auth, at=clock.now())
    wanted = [item for item in items if query.kind in {None, item.kind}]
    return {"items": wanted}


@router.post("/attention/{key}:take", response=AttentionOut, auth=PeopleOnly())
def take(request: ApiRequest, key: Key) -> AttentionItem:
    """Take care of an item, so that others know."""
    return queue.take(key=key, by=request.auth, at=clock.now())


@router.post("/attention/{key}:release", response=AttentionOut, auth=PeopleOnly())
def release(request: ApiRequest, key: Key) -> AttentionItem:
    """Let no one take care of an item, so that another user can take it."""
    return queue.release(key=key, by=request.auth, at=clock.now())
