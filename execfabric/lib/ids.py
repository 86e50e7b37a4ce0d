"""Identifiers that sort by time of creation."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """A version 7 UUID (RFC 9562, 5.7): 48 bits of milliseconds, then random."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def parsed(text: str) -> UUID | None:
    """Return the UUID that a text names; None for any other text."""
    try:
        return UUID(text)
    except ValueError:
        return None


def trace_id() -> str:
    """A W3C Trace Context trace id: 32 lower-case hex digits, not all zero."""
    return os.urandom(16).hex()


def span_id() -> str:
    """A W3C Trace Context parent id: 16 lower-case hex digits."""
    return os.urandom(8).hex()


def root_span(trace_id: str) -> str:
    """Return the id of a trace's own session, which covers all of it."""
    return trace_id[:16]
