"""How events are chained and how a chain is checked: pure, needs no database.

An event's body is RFC 8785 bytes that name its stream, its place and the hash of
its predecessor. Its hash is the RFC 6962 leaf hash of the body.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.domain.rows import Difference, RowFact
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.clock import stamp
from execfabric.lib.ids import root_span
from execfabric.lib.refusal import Invalid

Envelope = dict[str, Any]

GENESIS = b"\0" * 32
"""The predecessor's hash that the first event of a stream names."""


@dataclass(frozen=True)
class Fact:
    """Something that happened, before it has its place in a stream."""

    kind: str
    payload: dict[str, Any]
    step: str = ""
    session: str = ""
    component: str = ""
    """`{type}:{task}`: the part that the fact is about."""
    rows: tuple[RowFact, ...] = ()
    """The columns that the same transaction set."""


@dataclass(frozen=True)
class Link:
    """One stored event as the verifier reads it, a field for each column."""

    stream: str
    seq: int
    kind: str
    at: datetime
    actor: str
    actor_name: str
    trace_id: str
    step: str
    body: bytes
    hash: bytes


COLUMNS: dict[str, Callable[[Envelope], Any]] = {
    "stream": lambda body: body.get("stream"),
    "seq": lambda body: body.get("seq"),
    "kind": lambda body: body.get("kind"),
    "at": lambda body: body.get("at"),
    "actor": lambda body: f"{body['actor'].get('kind')}:{body['actor'].get('id')}",
    "actor_name": lambda body: body["actor"].get("name"),
    "trace_id": lambda body: body.get("traceId"),
    "step": lambda body: body.get("step"),
}
"""What the body says of each column that repeats a part of it."""


@dataclass(frozen=True)
class Break:
    """The first event at which a stream is not what was written."""

    stream: str
    seq: int
    reason: str
    expected: str = ""
    found: str = ""


@dataclass(frozen=True)
class Verified:
    """The result of checking one stream, and the rows that it speaks of."""

    stream: str
    events: int
    head: str
    broken: Break | None = None
    differences: tuple[Difference, ...] = ()
    """The first stored values that are not the recorded ones."""
    outputs: int = 0
    """Steps whose stored output and files are the recorded ones."""
    uncovered: int = 0
    """Rows of which the record does not say every column: older than this check."""
    unread: int = 0
    """Files whose bytes were not read, because they are too many for a page."""

    @property
    def whole(self) -> bool:
        """Whether nothing was found."""
        return self.broken is None and not self.differences


def leaf(body: bytes) -> bytes:
    """RFC 6962, 2.1: SHA-256 over 0x00 and the entry."""
    return hashlib.sha256(b"\0" + body).digest()


def write(
    *,
    stream: str,
    seq: int,
    prev: bytes,
    fact: Fact,
    by: Actor,
    at: datetime,
    trace_id: str,
) -> bytes:
    """Return the body bytes of an event in its place: the one envelope of the record.

    A fact without a session of its own belongs to the session of its trace.
    """
    return canonical.dumps(
        {
            "v": 1,
            "stream": stream,
            "seq": seq,
            "prev": prev.hex(),
            "kind": fact.kind,
            "at": stamp(at),
            "actor": by.as_fact(),
            "traceId": trace_id,
            "sessionId": fact.session or root_span(trace_id),
            "componentTag": fact.component or fact.kind.replace(".", ":", 1),
            "step": fact.step,
            "payload": fact.payload,
            "rows": [row.as_json() for row in fact.rows],
        }
    )


def verify(
    stream: str,
    links: Iterable[Link],
    *,
    last_seq: int,
    head: bytes,
    visit: Callable[[Envelope], None] = lambda _: None,
) -> Verified:
    """Check a stream from its first event; `links` are in order of `seq`.

    `visit` gets the body of each event that is as it was written. `last_seq` and `head` are what the stream's own row says of its end, so that a
    removed tail is found too.
    """
    prev, count = GENESIS, 0
    for link in links:
        found = _check(link, seq=count + 1, prev=prev, stream=stream)
        if isinstance(found, Break):
            return Verified(stream, count, prev.hex(), found)
        visit(found)
        prev, count = link.hash, count + 1
    if count > last_seq:
        reason = "the stream's head knows of no such event"
        extra = Break(stream, last_seq + 1, reason, str(last_seq), str(count))
        return Verified(stream, last_seq, head.hex(), extra)
    if count < last_seq:
        reason = "events are missing at the end of the stream"
        gap = Break(stream, count + 1, reason, str(last_seq), str(count))
        return Verified(stream, count, prev.hex(), gap)
    if prev != head:
        reason = "the stream's head names another last event"
        gap = Break(stream, count, reason, head.hex(), prev.hex())
        return Verified(stream, count, prev.hex(), gap)
    return Verified(stream, count, prev.hex())


def _check(link: Link, *, seq: int, prev: bytes, stream: str) -> Envelope | Break:
    if link.seq != seq:
        return Break(stream, seq, "an event is missing", str(seq), str(link.seq))
    computed = leaf(link.body)
    if computed != link.hash:
        reason = "the body does not have the recorded hash"
        return Break(stream, seq, reason, link.hash.hex(), computed.hex())
    return _check_body(link, seq=seq, prev=prev, stream=stream)


def _check_body(link: Link, *, seq: int, prev: bytes, stream: str) -> Envelope | Break:
    try:
        body = canonical.loads(link.body)
    except Invalid as error:
        return Break(stream, seq, f"the body cannot be read: {error}")
    if not isinstance(body, dict) or not isinstance(body.get("actor"), dict):
        return Break(stream, seq, "the body is not an event")
    if body.get("prev") != prev.hex():
        reason = "the event does not name its predecessor"
        return Break(stream, seq, reason, prev.hex(), str(body.get("prev")))
    for name, stated, recorded in _columns(link, body):
        if stated != recorded:
            reason = f"the column {name} differs from the body"
            return Break(stream, seq, reason, str(recorded), str(stated))
    return body


def _columns(link: Link, body: Envelope) -> Iterator[tuple[str, Any, Any]]:
    for name, read in COLUMNS.items():
        stored = getattr(link, name)
        yield name, stamp(stored) if name == "at" else stored, read(body)
