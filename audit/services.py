"""Writing the record. Reading and verifying it is in `selectors`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from audit.domain import chain
from audit.domain.chain import Fact
from audit.domain.rows import RowFact
from audit.errors import NotInTransaction, StreamUnknown
from execfabric import database
from execfabric.database import Write
from execfabric.lib.actor import Actor

__all__ = ["LOCK_END", "End", "Fact", "RowFact", "append", "chained", "open_stream"]

LOCK_END = "SELECT last_seq, head FROM audit_stream WHERE key = %s FOR UPDATE"
_OPEN = (
    "INSERT INTO audit_stream (key, last_seq, head) VALUES (%s, 0, %s)"
    " ON CONFLICT (key) DO NOTHING RETURNING key"
)
# One value for all events: text is bound faster than arrays are.
_APPEND = """
INSERT INTO audit_event
  (stream, seq, kind, at, actor, actor_name, trace_id, step, body, hash)
SELECT %s, fact.seq, fact.kind, %s, %s, %s, %s, fact.step,
  convert_to(fact.body, 'UTF8'), decode(fact.hash, 'hex')
FROM jsonb_to_recordset(%s::jsonb)
  AS fact (seq bigint, kind text, step text, body text, hash text)
"""
_MOVE_END = "UPDATE audit_stream SET last_seq = %s, head = %s WHERE key = %s"


@dataclass(frozen=True)
class End:
    """Where a stream ends: the last event's place and hash."""

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

    The stream's head row is locked until the transaction ends, so `seq` has no
    gaps and a reader that follows it misses nothing.

    :raises NotInTransaction: outside a transaction
    """
    if not connection.in_atomic_block:
        raise NotInTransaction
    end = _end(stream)
    if not facts:
        return end.seq
    statements, end = chained(stream, facts, end=end, by=by, at=at, trace_id=trace_id)
    database.together(statements)
    return end.seq


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
) -> tuple[list[Write], End]:
    """Build the statements that append facts after `end`; return them with the new end.

    For a caller that has read `end` under its lock in this transaction and is the only
    one to append in it: it sends them together with its own.
    """
    seq, prev = end.seq, end.hash
    added: list[dict[str, Any]] = []
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
        added.append(
            {
                "seq": seq,
                "kind": fact.kind,
                "step": fact.step,
                "body": body.decode(),
                "hash": prev.hex(),
            }
        )
    values = [stream, at, by.key, by.name, trace_id, json.dumps(added)]
    moved = Write(_MOVE_END, [seq, prev, stream], hits=1)
    return [Write(_APPEND, values, hits=len(added)), moved], End(seq, prev)


def _end(stream: str) -> End:
    """Lock the end of a stream, which begins with its first event."""
    found = database.row(LOCK_END, [stream])
    if found is None:
        open_stream(stream)
        found = database.row(LOCK_END, [stream])
    if found is None:
        raise StreamUnknown(stream=stream)
    return End(int(found[0]), bytes(found[1]))
