"""Hints that come ten times, late, or from nobody."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import redis
from kombu.exceptions import OperationalError

from execfabric.celery import app
from orchestration.runs import dispatch

TIMES = 10
"""How often each hint is delivered."""


@dataclass
class Publisher:
    """Delivers each step's hint ten times, and hints that nobody meant."""

    rng: random.Random
    broker: "redis.Redis[bytes]"
    sent: int = 0
    forged: int = 0
    _known: set[tuple[UUID, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._real = dispatch.send

    @contextlib.contextmanager
    def multiplying(self) -> Iterator[None]:
        """For the body, each hint that follows a decision here is published often."""
        dispatch.send = self._often
        try:
            yield
        finally:
            dispatch.send = self._real

    def hint(self, ready: Sequence[tuple[UUID, int]]) -> None:
        """Publish what is ready and not yet multiplied, and one forgery each."""
        for item in set(ready) - self._known:
            self._known.add(item)
            self._often([item[0]])
            old = self.rng.choice(sorted(self._known, key=str))[0]
            self._forge([uuid4(), old])

    def _often(self, ids: Sequence[UUID]) -> None:
        self._real(list(ids) * TIMES)
        self.sent += len(ids) * TIMES

    def _forge(self, ids: Sequence[UUID]) -> None:
        self._real(ids)
        # The broker may just have been killed.
        with contextlib.suppress(redis.RedisError, OperationalError):
            self.broker.lpush(dispatch.STEPS, "no id at all", b"\xff", "")
            app.send_task(dispatch.WORK, kwargs={"order": "rm"})
        self.forged += len(ids) + 4
