"""Cache values parsed from bytes, limited by the total size of the bytes."""

import hashlib
from collections.abc import Callable
from operator import itemgetter
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache, cached

T = TypeVar("T")


class DigestCache(Generic[T]):
    """A function of bytes, cached by digest up to `max_bytes` of input."""

    def __init__(self, read: Callable[[bytes], T], *, max_bytes: int) -> None:
        @cached(
            LRUCache(max_bytes, getsizeof=itemgetter(0)),
            key=lambda body: hashlib.sha256(body).digest(),
            lock=Lock(),
        )
        def sized(body: bytes) -> tuple[int, T]:
            return len(body), read(body)

        self._sized = sized

    def __call__(self, body: bytes) -> T:
        return self._sized(body)[1]

    def cache_clear(self) -> None:
        self._sized.cache_clear()
