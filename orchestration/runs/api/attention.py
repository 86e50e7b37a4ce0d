"""API of the queue of everything that needs a person."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Path, Query, Router, Schema

from execfabric.identity.http import ApiRequest, PeopleOnly, absolute
from execfabric.lib import clock
from orchestration.runs.control import attention as queue
from orchestration.runs.domain.attention import KEY, AttentionItem, AttentionKind
from orchestration.runs.pages import attention

router = Router(tags=["attention"])
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
