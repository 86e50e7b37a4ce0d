"""UUIDs that sort by time of creation, and ids for tracing."""

import hashlib
import os
import re
import time
from uuid import UUID

_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})"
    r"-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<rest>\Z|-.*\Z)"
)


def uuid7() -> UUID:
    """Return a version 7 UUID (RFC 9562, 5.7): milliseconds, then random bits.

    Python 3.14 has this function; until then, three lines replace a dependency.
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


def parent_trace(traceparent: str) -> str:
    """Return the trace id in a W3C `traceparent` header, or "" if it is invalid.

    As the standard says, an invalid header is ignored.
    """
    found = _TRACEPARENT.match(traceparent)
    is_exact = found and (found["rest"] == "" or found["version"] != "00")
    return found["trace"] if found and is_exact else ""


def root_span(trace_id: str) -> str:
    return trace_id[:16]


def scope_span(trace_id: str, scope: UUID) -> str:
    """Return the id of one scope of a trace, always the same one."""
    return hashlib.sha256(f"{trace_id}/{scope}".encode()).hexdigest()[:16]
