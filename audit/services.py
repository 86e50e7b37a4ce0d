"""Append events. Reading and verifying them is in `selectors`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from audit.domain import chain
from audit.domain.chain import Fact
from audit.domain.rows import RowFact
from audit.errors import NotInTransaction, StreamUnknown
from execfabric.infra import database
from execfabric.lib.actor import Actor

__all__ = [
    "LOCK_END",
    "End",
    "Fact",
    "RowFact",
    "append",
    "chained",
    "lock",
    "open_stream",
]

LOCK_END = "SELECT last_seq, head FROM audit_stream WHERE key = %s FOR UPDATE"
_OPEN = (
    "INSERT INTO audit_stream (key, last_seq, head) VALUES (%s, 0, %s)"
    " ON CONFLICT (key) DO NOTHING RETURNING key"
)
_APPEND = "SELECT audit_append(%s, %s, %s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True)
class End:
    """The end of a stream: `seq` and hash of its last event."""

    seq: int
    hash: bytes


def append(
    stream: str,
    facts: Sequence[Fact],
    *,
    by: Actor,
    at: datetime,
    trace_id: str = "",
) -> int:
    """Append facts to a stream in the caller's transaction; return the last `seq`.

    The row of the stream is locked until the transaction ends, so `seq` has no gaps
    and a reader that follows it misses no event.

    :raises NotInTransaction: if no transaction is open
    """
    if not connection.in_atomic_block:
        raise NotInTransaction
    end = _end(stream)
    if not facts:
        return end.seq
    events, after = chained(stream, facts, end=end, by=by, at=at, trace_id=trace_id)
    database.row(
        _APPEND,
        [stream, end.seq, end.hash, after.hash, at, by.key, by.name, trace_id, events],
    )
    return after.seq


def lock(stream: str) -> None:
    """Lock the end of a stream until the caller's transaction ends.

    :raises NotInTransaction: if no transaction is open
    """
    if not connection.in_atomic_block:
        raise NotInTransaction
    _end(stream)


def open_stream(stream: str) -> None:
    """Create a stream without events, unless it exists."""
    database.rows(_OPEN, [stream, chain.GENESIS])


def chained(
    stream: str,
    facts: Sequence[Fact],
    *,
    end: End,
    by: Actor,
    at: datetime,
    trace_id: str,
) -> tuple[str, End]:
    """Return the events that `audit_append` adds after `end`, as JSON, and the new end."""
    seq, prev = end.seq, end.hash
    events: list[dict[str, Any]] = []
    for fact in facts:
        seq += 1
        body = chain.write(
            stream=stream,
            seq=seq,
            prev=prev,
            fact=fact,
            by=by,
            at=at,
            trace_id=trace_id,
        )
        prev = chain.leaf(body)
        event = {"seq": seq, "kind": fact.kind, "step": fact.step}
        events.append({**event, "body": body.decode(), "hash": prev.hex()})
    return orjson.dumps(events).decode(), End(seq, prev)


def _end(stream: str) -> End:
    """Lock the end of a stream; create the stream if it is new."""
    end = database.row(LOCK_END, [stream])
    if end is None:
        open_stream(stream)
        end = database.row(LOCK_END, [stream])
    if end is None:
        raise StreamUnknown(stream=stream)
    return End(int(end[0]), bytes(end[1]))
