"""Chain events by their hashes, and verify a chain.

The body of an event is canonical JSON (RFC 8785) with its stream, its `seq` and the
hash of the previous event. Its hash is the RFC 6962 leaf hash of the body.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from audit.domain.rows import RowDifference, RowFact
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.clock import stamp
from execfabric.lib.ids import root_span
from execfabric.lib.refusal import Invalid

Envelope = dict[str, Any]

GENESIS = b"\0" * 32
"""The previous hash in the first event of a stream."""


@dataclass(frozen=True)
class Fact:
    kind: str
    payload: dict[str, Any]
    step: str = ""
    session: str = ""
    component: str = ""
    """`{type}:{task}` of what the fact is about."""
    rows: tuple[RowFact, ...] = ()
    """The columns that the same transaction sets."""


@dataclass(frozen=True)
class Link:
    """A stored event, one field for each column."""

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
"""The function that reads each repeated part of the body, by column."""


@dataclass(frozen=True)
class Break:
    """The first event of a stream that is not as it was written."""

    stream: str
    seq: int
    reason: str
    expected: str = ""
    found: str = ""


@dataclass
class Verified:
    """The result of verifying one stream and the rows it records."""

    stream: str
    events: int
    head: str
    broken: Break | None = None
    differences: list[RowDifference] = field(default_factory=list)
    """The first stored values that differ from the recorded ones."""
    outputs: int = 0
    """Steps whose stored output and files match the recorded ones."""
    uncovered: int = 0
    """Rows that are too old for the events to record every column."""
    unread: int = 0
    """Files whose bytes were not read because they are too large for a page."""

    @property
    def whole(self) -> bool:
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
    """Return the body of an event.

    A fact without a session belongs to the session of its trace.
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
    """Verify a stream from its first event; `links` are sorted by `seq`.

    `visit` is called with the body of each intact event. `last_seq` and `head` come
    from the row of the stream, so that removed events at the end are found too.
    """
    prev, count = GENESIS, 0
    for link in links:
        result = _check(link, seq=count + 1, prev=prev, stream=stream)
        if isinstance(result, Break):
            return Verified(stream, count, prev.hex(), result)
        visit(result)
        prev, count = link.hash, count + 1
    if count > last_seq:
        reason = "there are events after the end of the stream"
        extra = Break(stream, last_seq + 1, reason, str(last_seq), str(count))
        return Verified(stream, last_seq, head.hex(), extra)
    broken = None
    if count < last_seq:
        reason = "events are missing at the end of the stream"
        broken = Break(stream, count + 1, reason, str(last_seq), str(count))
    elif prev != head:
        reason = "the last event is not the one in the row of the stream"
        broken = Break(stream, count, reason, head.hex(), prev.hex())
    return Verified(stream, count, prev.hex(), broken)


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
        reason = "the event does not have the hash of the previous event"
        return Break(stream, seq, reason, prev.hex(), str(body.get("prev")))
    for name, read in COLUMNS.items():
        stored, recorded = getattr(link, name), read(body)
        stored = stamp(stored) if name == "at" else stored
        if stored != recorded:
            reason = f"the column {name} differs from the body"
            return Break(stream, seq, reason, str(recorded), str(stored))
    return body
