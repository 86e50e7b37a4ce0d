"""API to send events to runs that wait for them, and to read those that arrived."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Header, Query, Router, Schema, Status

from execfabric.identity.http import ApiRequest, page
from execfabric.identity.paging import PageQuery, page_of
from execfabric.lib import clock
from orchestration.plans.domain.waits import MAX_EVENT_KEY
from orchestration.runs import received
from orchestration.runs.control import events
from orchestration.runs.control.events import SentEvent
from orchestration.runs.models import ExternalEvent
from orchestration.runs.received import EventFilter

router = Router(tags=["events"])


class EventIn(Schema, extra="forbid"):
    """An event: what happened, to what, and its data."""

    type: str
    key: str = ""
    payload: dict[str, Any] = {}


class SentEventOut(Schema):
    """A stored event, and how many waits it has ended."""

    id: UUID = Field(alias="event.pk")
    type: str = Field(alias="event.type")
    key: str = Field(alias="event.key")
    waits: int
    """The waits that it has ended; 0 if it is stored for a wait that begins later."""
    received_at: datetime = Field(alias="event.received_at")
    expires_at: datetime = Field(alias="event.expires_at")


class EventQuery(PageQuery):
    """Filters for the list of events."""

    type: Annotated[str, Field(max_length=100)] = ""
    key: Annotated[str, Field(max_length=MAX_EVENT_KEY)] = ""


class TakenBy(Schema):
    """A wait that an event has ended."""

    run: UUID = Field(alias="wait.step_run.run_id")
    step: str = Field(alias="wait.step_run.label")
    step_run_id: UUID = Field(alias="wait.step_run_id")
    matched_at: datetime


class EventRow(Schema):
    """A received event."""

    id: UUID
    type: str
    key: str
    sender: str
    sender_name: str
    received_at: datetime
    expires_at: datetime
    """The time until which it can end a wait that begins later."""
    is_taken: bool
    """False if no step has waited for it yet."""
    taken_count: int
    """The waits that it has ended, in the runs that you may see."""
    taken_by: list[TakenBy] = Field(alias="taken")
    """The first of them; in a list at most five."""
    url: str

    @staticmethod
    def resolve_url(event: ExternalEvent, context: dict[str, Any]) -> str:
        return page(context["request"], "event", event.pk)


class EventOut(EventRow):
    """A received event with its payload and a page of the waits that it has ended."""

    payload: dict[str, Any]
    next: UUID | None = Field(alias="taken_next")
    """The cursor of the next waits."""


class EventPage(Schema):
    """Events, newest first, and the cursor of the next page."""

    items: list[EventRow]
    next: UUID | None


@router.get("/events", response=EventPage)
def list_events(request: ApiRequest, query: Query[EventQuery]) -> dict[str, Any]:
    """List the received events that the holder of the token may see, newest first."""
    wanted = EventFilter(type=query.type, key=query.key)
    rows = received.filtered(received.visible_to(request.auth), wanted)
    loaded = received.with_waits(rows.defer("payload"), request.auth)
    return page_of(loaded, query, newest_first=True)


@router.get("/events/{uuid:event_id}", response=EventOut)
def get_event(
    request: ApiRequest, event_id: UUID, query: Query[PageQuery]
) -> ExternalEvent:
    """Return a received event with its payload and a page of the waits it has ended."""
    return received.get(request.auth, event_id, after=query.after, most=query.limit)


@router.post("/events", response={201: SentEventOut})
def send_event(
    request: ApiRequest,
    body: EventIn,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key")] = "",
) -> Status[SentEvent]:
    """Send an event: it ends every wait for its type and key.

    The same `Idempotency-Key` with the same body returns the same event.
    """
    sent = events.send(
        **body.model_dump(),
        by=request.auth,
        at=clock.now(),
        event_id=idempotency_key,
    )
    return Status(201, sent)
