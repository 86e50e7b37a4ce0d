"""Counts of requests in fixed windows, shared by all processes.

Counted in Redis, and in this process while Redis is away: a limit may then be reached
a few times as late, but it is never off, and a lost count locks no one out.
"""

import hashlib
import math
import time
from dataclasses import dataclass

from django.core.cache import caches
from redis.exceptions import RedisError

REDIS_AGAIN_AFTER = 5.0
"""Seconds for which Redis is left alone after it did not answer."""

_redis_away_until = 0.0


@dataclass(frozen=True)
class Limit:
    """How often something may be tried in a window of time."""

    name: str
    tries: int
    seconds: int


@dataclass(frozen=True)
class Try:
    """One counted try."""

    slot: str
    seconds: int
    count: int
    """How many there were in this window, this one included."""
    wait: int
    """Seconds until the window ends, when this one is over the limit; else 0."""


def take(limit: Limit, key: str) -> Try:
    """Count one try of `key` and tell whether it is within the limit."""
    now = time.time()
    window, since = divmod(now, limit.seconds)
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    slot = f"throttle:{limit.name}:{limit.tries}:{digest}:{int(window)}"
    count = _add(slot, 1, limit.seconds)
    over = count > limit.tries
    wait = max(1, math.ceil(limit.seconds - since)) if over else 0
    return Try(slot, limit.seconds, count, wait)


def give_back(tried: Try) -> None:
    """Take back a try that should not have counted."""
    _add(tried.slot, -1, tried.seconds)


def in_words(seconds: int) -> str:
    """Return a waiting time as people say it: "40 seconds", "5 minutes"."""
    if seconds < 60:  # noqa: PLR2004  a minute
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def _add(slot: str, step: int, seconds: int) -> int:
    global _redis_away_until  # noqa: PLW0603  one Redis per process
    if time.monotonic() >= _redis_away_until:
        try:
            return _add_in("shared", slot, step, seconds)
        except RedisError:
            _redis_away_until = time.monotonic() + REDIS_AGAIN_AFTER
    return _add_in("default", slot, step, seconds)


def _add_in(cache: str, slot: str, step: int, seconds: int) -> int:
    counts = caches[cache]
    counts.add(slot, 0, seconds)
    try:
        return int(counts.incr(slot, step))
    except ValueError:  # the window ended between the two calls
        return max(step, 0)
