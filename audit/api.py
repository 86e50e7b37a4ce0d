"""The schemas of events and of their verification, shared by the API's modules."""

from typing import Annotated, Any

from ninja import Field, Schema

from audit import selectors
from audit.domain.chain import Break
from audit.domain.rows import RowDifference
from audit.models import Event

Cursor = Annotated[int, Field(ge=0, le=2**53 - 1)]
PageSize = Annotated[int, Field(ge=1, le=1000)]


class EventList(Schema):
    """Events as they are stored, and the cursor of the next page."""

    items: list[dict[str, Any]]
    next: int | str | None
    """For a search, the value to pass as `before`; for a run's events, the last `seq`."""


class VerifiedOut(Schema):
    """The result of verifying a stream and the stored rows it records."""

    stream: str
    verified: bool = Field(alias="whole")
    events: int
    head: str
    broken: Break | None
    differences: list[RowDifference]
    outputs: int
    """Steps whose stored output and files match the recorded ones."""
    uncovered: int
    """Rows that are too old for the events to record every column."""
    unread: int
    """Files whose bytes were not read; `/trace:verify` reads all."""


def entry(event: Event) -> dict[str, Any]:
    return {**selectors.envelope(event), "hash": bytes(event.hash).hex()}


def page_of(stream: str, *, after: int, limit: int) -> EventList:
    rows = selectors.events_after(stream, after, limit=limit)
    return EventList(
        items=[entry(row) for row in rows], next=rows[-1].seq if rows else after
    )
