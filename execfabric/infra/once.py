"""Idempotency keys: a repeated request gets the response to the first one.

The keys are in Redis, which may lose them: this prevents most duplicates after a broken
connection, and guarantees nothing. A unique constraint would guarantee it, but needs a
column in each table that a request can create a row in.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress

from django.core.cache import caches
from redis.exceptions import RedisError

from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Conflict, Invalid

KEY_SECONDS = 24 * 3600
PENDING_SECONDS = 60
LONGEST_KEY = 200


class KeyReused(Conflict):
    """This Idempotency-Key was used for a different request. Use a new key."""

    code = "request.key_reused"


class KeyInUse(Conflict):
    """The first request with this Idempotency-Key is still running. Retry later."""

    code = "request.key_in_use"


class KeyTooLong(Invalid):
    """The Idempotency-Key is too long (max 200 characters)."""

    code = "request.key_too_long"


def once(
    *,
    by: Actor,
    key: str,
    request: str,
    make: Callable[[], str],
    exists: Callable[[str], bool],
) -> str:
    """Return the result of `make`, or of the first request with this key.

    `request` identifies the whole request. Without a key, `make` is always called.
    `exists` checks that the cached result is in the database.

    :raises KeyReused: when the key was used for a different request
    :raises KeyInUse: when the first request is still running
    """
    if not key:
        return make()
    if len(key) > LONGEST_KEY:
        raise KeyTooLong
    slot = "once:" + hashlib.sha256(f"{by.key}\n{key}".encode()).hexdigest()
    first = _reserve(slot, request)
    if first is not None and exists(result := _result(first, request)):
        return result
    try:
        result = make()
    except BaseException:
        with suppress(RedisError):
            caches["shared"].delete(slot)
        raise
    with suppress(RedisError):
        entry = {"asked": request, "answer": result}
        caches["shared"].set(slot, entry, KEY_SECONDS)
    return result


def _reserve(slot: str, request: str) -> dict[str, str] | None:
    """Reserve a free slot; return the entry of one that is taken."""
    with suppress(RedisError):
        if not caches["shared"].add(slot, {"asked": request}, PENDING_SECONDS):
            entry: dict[str, str] | None = caches["shared"].get(slot)
            return entry
    return None


def _result(entry: dict[str, str], request: str) -> str:
    if entry["asked"] != request:
        raise KeyReused
    if "answer" not in entry:
        raise KeyInUse
    return entry["answer"]
