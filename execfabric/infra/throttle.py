"""Rate limits in fixed windows, shared by all processes.

While Redis is away each process counts for itself, so a limit is less strict but never
off. A lost count locks no one out.
"""

import hashlib
import math
import time
from dataclasses import dataclass

from django.core.cache import caches
from redis.exceptions import RedisError

REDIS_AGAIN_AFTER = 5.0
"""Seconds to wait after Redis has failed."""

_redis_away_until = 0.0


@dataclass(frozen=True)
class RateLimit:
    """The number of tries that are allowed in a window of time."""

    name: str
    tries: int
    seconds: int


@dataclass(frozen=True)
class Try:
    """One counted try."""

    slot: str
    seconds: int
    count: int
    """Tries in this window, including this one."""
    wait: int
    """Seconds until the window ends if the limit is exceeded; else 0."""


def take(limit: RateLimit, key: str) -> Try:
    """Count one try of `key`; its `wait` is 0 if it is within the limit."""
    now = time.time()
    window, since = divmod(now, limit.seconds)
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    slot = f"throttle:{limit.name}:{limit.tries}:{digest}:{int(window)}"
    count = _add(slot, 1, limit.seconds)
    over = count > limit.tries
    wait = max(1, math.ceil(limit.seconds - since)) if over else 0
    return Try(slot, limit.seconds, count, wait)


def give_back(tried: Try) -> None:
    """Subtract a try that should not count."""
    _add(tried.slot, -1, tried.seconds)


def in_words(seconds: int) -> str:
    """Return a duration in words, such as "40 seconds" or "5 minutes"."""
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
