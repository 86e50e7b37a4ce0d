"""The record for clients: search and verification.

Whoever mounts the router asks for the right to read the whole record. A single run's
events and their verification are with the run, for whoever may see it.
"""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from pydantic import AfterValidator

from audit import selectors
from audit.domain.chain import Verified
from audit.errors import CursorUnknown
from audit.models import Event
from execfabric.lib import clock

router = Router(tags=["trace"])

MAX_PAGE = 1000
Cursor = Annotated[int, Field(ge=0, le=2**53 - 1)]
Moment = Annotated[datetime, AfterValidator(clock.in_utc)]
PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE)]


class TraceQuery(Schema):
    """What to look for; what is left out does not restrict."""

    stream: str = ""
    kind: str = ""
    actor: str = ""
    step: str = ""
    trace_id: str = ""
    text: str = ""
    since: Moment | None = None
    until: Moment | None = None
    before: Annotated[str, Field(max_length=100)] = ""
    limit: PageSize = 100


class EventList(Schema):
    """Events as they stand in the record, and the cursor to go on from."""

    items: list[dict[str, Any]]
    next: int | str | None
    """Of a search a text to pass as `before`, of a run's events the last `seq`."""


class BreakOut(Schema):
    """The first event at which a stream is not what was written."""

    stream: str
    seq: int
    reason: str
    expected: str
    found: str


class DifferenceOut(Schema):
    """A stored value that is not the recorded one."""

    table: str
    key: str
    column: str
    recorded: str
    found: str


class VerifiedOut(Schema):
    """The result of checking a stream, and the stored rows against it."""

    stream: str
    verified: bool
    events: int
    head: str
    broken: BreakOut | None
    differences: list[DifferenceOut]
    outputs: int
    """Steps whose stored output and files are the recorded ones."""
    uncovered: int
    """Rows that are older than this check, so the record does not say every column."""
    unread: int
    """Files whose bytes were not read; `/trace:verify` reads all."""


@router.get("/trace", response=EventList)
def search(request: HttpRequest, query: Query[TraceQuery]) -> EventList:  # noqa: ARG001
    """Events of all streams, newest first."""
    wanted = query.model_dump(exclude={"before", "limit"})
    before = _event_at(query.before)
    found = selectors.search(selectors.Filter(**wanted), before=before)
    rows = list(found[: query.limit])
    full = len(rows) == query.limit
    return EventList(
        items=[entry(row) for row in rows],
        next=selectors.cursor_of(rows[-1]) if full else None,
    )


def entry(event: Event) -> dict[str, Any]:
    """An event's envelope, with its hash."""
    return {**selectors.envelope(event), "hash": bytes(event.hash).hex()}


def _event_at(cursor: str) -> Event | None:
    found = selectors.event_at(cursor)
    if cursor and found is None:
        raise CursorUnknown(before=cursor)
    return found


def page_of(stream: str, *, after: int, limit: int) -> EventList:
    """The events of one stream behind a cursor, in order."""
    rows = selectors.events_after(stream, after, limit=limit)
    return EventList(
        items=[entry(row) for row in rows], next=rows[-1].seq if rows else after
    )


def verified(result: Verified) -> VerifiedOut:
    """The result of a check for a client."""
    broken = result.broken
    return VerifiedOut(
        stream=result.stream,
        verified=result.whole,
        events=result.events,
        head=result.head,
        broken=BreakOut.model_validate(broken, from_attributes=True)
        if broken
        else None,
        differences=[
            DifferenceOut.model_validate(item, from_attributes=True)
            for item in result.differences
        ],
        outputs=result.outputs,
        uncovered=result.uncovered,
        unread=result.unread,
    )
