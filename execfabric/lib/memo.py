"""A cache of what stored bytes mean, bounded by the size of those bytes."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from threading import Lock
from typing import TypeVar

from cachetools import LRUCache

T = TypeVar("T")


def by_digest(max_bytes: int) -> Callable[[Callable[[bytes], T]], Callable[[bytes], T]]:
    """Cache a function of bytes by their digest, for up to `max_bytes` of them."""

    def decorate(read: Callable[[bytes], T]) -> Callable[[bytes], T]:
        cache: LRUCache[bytes, tuple[int, T]]
        cache = LRUCache(max_bytes, getsizeof=lambda entry: entry[0])
        lock = Lock()

        @wraps(read)
        def cached(body: bytes) -> T:
            key = hashlib.sha256(body).digest()
            with lock:
                entry = cache.get(key)
            if entry is None:
                entry = len(body), read(body)
                with lock, suppress(ValueError):  # larger than the whole cache
                    cache[key] = entry
            return entry[1]

        return cached

    return decorate
