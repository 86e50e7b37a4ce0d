"""The only module that reads the wall clock; all others take `at`."""

import time
from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3_600, 86_400
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def since_boot() -> float:
    """Return the seconds since this host started, suspended time included.

    All processes of the host share this clock, and it never jumps.
    """
    return time.clock_gettime(_SINCE_BOOT)


def stamp(at: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds and `Z`, as events store it.

    :raises ValueError: for a naive datetime
    """
    if at.tzinfo is None:
        message = "Cannot write a time without a time zone."
        raise ValueError(message)
    text = at.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def elapsed_ms(since: datetime, until: datetime) -> int:
    """Return the milliseconds between two times; 0 if a clock went back."""
    return max(0, round((until - since).total_seconds() * 1000))


def in_utc(at: datetime) -> datetime:
    """Return a time in UTC; one without a zone is in UTC.

    :raises ValueError: when the year is not from 1 to 9999 in UTC
    """
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        message = "The year must be from 1 to 9999 in UTC."
        raise ValueError(message) from error


def duration_text(seconds: float) -> str:
    """Return a duration, such as "840 ms", "12.4 s", "3 min 05 s" or "2 h 10 min"."""
    if seconds < 1:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < HOUR:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < DAY:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
