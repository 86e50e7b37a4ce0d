"""A request that is sent twice under one key gets the first one's answer.

The keys stand in the cache, which may be wiped at any moment: this saves a client
that repeats a request after a broken connection from most doubles, and promises no
more. Nothing that must hold may be built on it.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress

from django.core.cache import caches
from redis.exceptions import RedisError

from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Conflict, Invalid

REMEMBERED_SECONDS = 24 * 3600
HELD_SECONDS = 60
LONGEST_KEY = 200


class KeyReused(Conflict):
    """This Idempotency-Key was sent before with another request."""

    code = "request.key_reused"


class KeyInUse(Conflict):
    """The first request with this Idempotency-Key is still being answered."""

    code = "request.key_in_use"


class KeyTooLong(Invalid):
    """An Idempotency-Key has at most 200 characters."""

    code = "request.key_too_long"


def once(
    *,
    by: Actor,
    key: str,
    asked: str,
    make: Callable[[], str],
    stands: Callable[[str], bool],
) -> str:
    """What `make` returns, or what it returned when this was asked under this key.

    `asked` stands for the whole request. An empty key asks for nothing. `stands` asks
    the database whether a remembered answer is true there: only that counts.

    :raises KeyReused: when the key came with another request before
    :raises KeyInUse: when the first request is not answered yet
    """
    if not key:
        return make()
    if len(key) > LONGEST_KEY:
        raise KeyTooLong
    slot = "once:" + hashlib.sha256(f"{by.key}\n{key}".encode()).hexdigest()
    known = _taken(slot, asked)
    if known is not None and stands(answer := _answer(known, asked)):
        return answer
    done = False
    try:
        answer = make()
        done = True
    finally:
        if not done:
            _forget(slot)
    _remember(slot, asked, answer)
    return answer


def _taken(slot: str, asked: str) -> dict[str, str] | None:
    """What stands in the slot; None if it was free and is held now."""
    with suppress(RedisError):
        if not caches["shared"].add(slot, {"asked": asked}, HELD_SECONDS):
            found: dict[str, str] | None = caches["shared"].get(slot)
            return found
    return None


def _answer(known: dict[str, str], asked: str) -> str:
    if known["asked"] != asked:
        raise KeyReused
    if "answer" not in known:
        raise KeyInUse
    return known["answer"]


def _remember(slot: str, asked: str, answer: str) -> None:
    with suppress(RedisError):
        caches["shared"].set(
            slot, {"asked": asked, "answer": answer}, REMEMBERED_SECONDS
        )


def _forget(slot: str) -> None:
    with suppress(RedisError):
        caches["shared"].delete(slot)
