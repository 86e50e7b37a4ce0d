"""UUIDs that sort by time of creation, and ids for tracing."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """Return a version 7 UUID (RFC 9562, 5.7): milliseconds, then random bits.

    Python has this from 3.14 on; three lines are less than a dependency until then.
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def parsed(text: str) -> UUID | None:
    """Return the UUID in `text`, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


def trace_id() -> str:
    """Return a W3C Trace Context trace id: 32 hex digits."""
    return os.urandom(16).hex()


def span_id() -> str:
    """Return a W3C Trace Context parent id: 16 hex digits."""
    return os.urandom(8).hex()


def root_span(trace_id: str) -> str:
    """Return the id of the root span of a trace."""
    return trace_id[:16]
