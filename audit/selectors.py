"""Reading and verifying the record."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from audit.domain import chain
from audit.domain.chain import Link, Verified
from audit.errors import StreamUnknown
from audit.models import Event, Stream
from execfabric.lib import canonical

__all__ = [
    "Event",
    "Filter",
    "envelope",
    "events_after",
    "head",
    "search",
    "verify_all",
    "verify_stream",
]


@dataclass(frozen=True)
class Filter:
    """What an auditor asks for; empty fields do not restrict."""

    stream: str = ""
    kind: str = ""
    actor: str = ""
    step: str = ""
    trace_id: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None


def head(stream: str) -> int:
    """The last `seq` of a stream; 0 for one that has no events yet."""
    found = Stream.objects.filter(key=stream).values_list("last_seq", flat=True).first()
    return found or 0


def events_after(stream: str, seq: int, *, limit: int = 1000) -> list[Event]:
    """The events of a stream behind a cursor, in order."""
    found = Event.objects.filter(stream_id=stream, seq__gt=seq).order_by("seq")
    return list(found[:limit])


def search(query: Filter, *, before: int | None = None) -> QuerySet[Event]:
    """Events newest first; `before` is the id to continue from."""
    found = Event.objects.order_by("-id")
    equal = {
        "stream_id": query.stream,
        "kind": query.kind,
        "step": query.step,
        "trace_id": query.trace_id,
    }
    found = found.filter(**{name: value for name, value in equal.items() if value})
    if query.actor:
        found = found.filter(actor_name__icontains=query.actor)
    if query.since:
        found = found.filter(at__gte=query.since)
    if query.until:
        found = found.filter(at__lte=query.until)
    if query.text:
        # As bytes, because a body that somebody changed need not be text any more.
        found = found.extra(
            where=["position(convert_to(%s, 'UTF8') IN body) > 0"], params=[query.text]
        )
    return found.filter(id__lt=before) if before is not None else found


def envelope(event: Event) -> Any:
    """The body of an event as a JSON value."""
    return canonical.loads(bytes(event.body))


def verify_stream(key: str) -> Verified:
    """Check one stream from its first event to its head.

    :raises StreamUnknown: when no such stream exists
    """
    stream = Stream.objects.filter(key=key).first()
    if stream is None:
        raise StreamUnknown(stream=key)
    return chain.verify(
        key, _links(key), last_seq=stream.last_seq, head=bytes(stream.head)
    )


def verify_all() -> Iterator[Verified]:
    """Check every stream, in the order of their keys."""
    for key in Stream.objects.order_by("key").values_list("key", flat=True):
        yield verify_stream(key)


def _links(key: str) -> Iterator[Link]:
    rows = Event.objects.filter(stream_id=key).order_by("seq")
    for row in rows.iterator(chunk_size=2000):
        yield Link(
            stream=row.stream_id,
            seq=row.seq,
            kind=row.kind,
            at=row.at,
            actor=row.actor,
            trace_id=row.trace_id,
            step=row.step,
            body=bytes(row.body),
            hash=bytes(row.hash),
        )
