"""Read, search and verify events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from audit.domain import chain
from audit.domain.chain import Break, Envelope, Link, Verified
from audit.errors import StreamUnknown
from audit.models import Event, Stream
from execfabric.lib import canonical
from execfabric.lib.actor import ActorKind

__all__ = [
    "Event",
    "Filter",
    "cursor_of",
    "envelope",
    "event_at",
    "events_after",
    "head",
    "search",
    "verify_chain",
    "with_text",
]

LONGEST_SEQ = 18
"""The most digits of a `seq` that fit in its column."""
_LINK = tuple(field.name for field in fields(Link))


@dataclass(frozen=True)
class Filter:
    """The filters of a search; an empty one does not restrict."""

    stream: str = ""
    kind: str = ""
    """A kind (`gate.decided`), or the first part of kinds (`gate`)."""
    actor: str = ""
    """A part of a name, a key (`user:7`), or a kind of actor (`system:`)."""
    step: str = ""
    trace_id: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None


def head(stream: str) -> int:
    """Return the last `seq` of a stream; 0 if it has no events."""
    stored = Stream.objects.filter(key=stream).values_list("last_seq", flat=True)
    return stored.first() or 0


def events_after(stream: str, seq: int, *, limit: int = 1000) -> list[Event]:
    """Return the events of a stream after `seq`, in order."""
    events = Event.objects.filter(stream_id=stream, seq__gt=seq).order_by("seq")
    return list(events[:limit])


def search(query: Filter, *, before: Event | None = None) -> QuerySet[Event]:
    """Return the matching events, newest first; only those older than `before`.

    They are sorted by `seq` within one stream, and by time across streams.
    """
    events = Event.objects.order_by(*_order(query))
    equal = {
        "stream_id": query.stream,
        "kind": query.kind if "." in query.kind else "",
        "step": query.step,
        "trace_id": query.trace_id,
    }
    events = events.filter(**{name: value for name, value in equal.items() if value})
    if query.kind and "." not in query.kind:
        events = events.filter(kind__startswith=f"{query.kind}.")
    if query.trace_id:
        # Every event of a stream has its trace; only the first is indexed by it.
        first = Event.objects.filter(trace_id=query.trace_id, seq=1)
        events = events.filter(stream__in=first.values("stream_id"))
    if query.actor:
        events = events.filter(_by_actor(query.actor))
    if query.since:
        events = events.filter(at__gte=query.since)
    if query.until:
        events = events.filter(at__lte=query.until)
    if query.text:
        events = with_text(events, query.text)
    return events.filter(_after(query, before)) if before is not None else events


def with_text(events: QuerySet[Event], text: str) -> QuerySet[Event]:
    """Return the events whose body contains a text."""
    # As bytes, because a changed body may not be text any more.
    where = ["position(convert_to(%s, 'UTF8') IN body) > 0"]
    return events.extra(where=where, params=[text])  # noqa: S610  a constant


def cursor_of(event: Event) -> str:
    """Return the cursor of the page after this event."""
    return f"{event.stream_id}:{event.seq}"


def event_at(cursor: str) -> Event | None:
    """Return the event of a cursor; None if it is unknown."""
    stream, _, seq = cursor.rpartition(":")
    if not (seq.isascii() and seq.isdigit()) or len(seq) > LONGEST_SEQ:
        return None
    return Event.objects.filter(stream_id=stream, seq=int(seq)).first()


def _by_actor(actor: str) -> Q:
    kind, colon, pk = actor.partition(":")
    if not colon or kind not in set(ActorKind):
        return Q(actor_name__icontains=actor)
    return Q(actor=actor) if pk else Q(actor__startswith=actor)


def _order(query: Filter) -> tuple[str, ...]:
    return ("-seq",) if query.stream else ("-at", "-stream_id", "-seq")


def _after(query: Filter, last: Event) -> Q:
    if query.stream:
        return Q(seq__lt=last.seq)
    same = Q(at=last.at)
    here = same & Q(stream_id=last.stream_id, seq__lt=last.seq)
    return Q(at__lte=last.at) & (
        Q(at__lt=last.at) | (same & Q(stream_id__lt=last.stream_id)) | here
    )


def envelope(event: Event) -> Any:
    """Return the body of an event as a JSON value."""
    return canonical.loads(bytes(event.body))


def verify_chain(
    key: str,
    *,
    expected: bool = False,
    visit: Callable[[Envelope], None] = lambda _: None,
) -> Verified:
    """Verify one stream from its first event to its head.

    If `expected`, other rows need the stream, so a missing one is a finding.

    :raises StreamUnknown: if the stream does not exist and is not expected
    """
    stream = Stream.objects.filter(key=key).first()
    if stream is not None:
        head = bytes(stream.head)
        links = _links(key)
        return chain.verify(
            key, links, last_seq=stream.last_seq, head=head, visit=visit
        )
    if not expected and not Event.objects.filter(stream_id=key).exists():
        raise StreamUnknown(stream=key)
    reason = "the row of the stream is missing"
    return Verified(key, 0, "", Break(key, 1, reason, key))


def _links(key: str) -> Iterator[Link]:
    rows = Event.objects.filter(stream_id=key).order_by("seq")
    for row in rows.values_list(*_LINK, named=True).iterator(chunk_size=2000):
        yield Link(**{name: _plain(getattr(row, name)) for name in _LINK})


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
