"""The only place that reads the wall clock; everything else takes `at`."""

import time
from datetime import UTC, datetime

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def since_boot() -> float:
    """Return the seconds since this host started: one clock for all of its processes.

    It never jumps, and it counts the time that the host was suspended.
    """
    return time.clock_gettime(_SINCE_BOOT)


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds and `Z`: the form in every recorded byte.

    :raises ValueError: for a naive datetime
    """
    if at.tzinfo is None:
        message = "a recorded time must know its zone"
        raise ValueError(message)
    text = at.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def in_utc(at: datetime) -> datetime:
    """Return the moment in UTC; a naive one is UTC already.

    :raises ValueError: when it is outside the years 1 to 9999 in UTC
    """
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        message = "The date must be within the years 1 to 9999 in UTC."
        raise ValueError(message) from error
