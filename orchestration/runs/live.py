"""The only file that talks to the channel layer: hints that something changed.

A hint carries no fact, only which run to look at. It may be lost, doubled or late;
whoever watches a run reads the record. Hints are sent by one thread per process,
so that no step waits for them, and each run is hinted at most ten times a second.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from uuid import UUID

from channels.layers import get_channel_layer
from django.db import transaction

logger = logging.getLogger(__name__)

INBOX = "inbox"
"""The group of everybody who watches the gates that wait for people."""
SPACING = 0.1
"""Seconds between two hints about one run from one process."""
PER_TICK = 20
"""Runs hinted per SPACING at most: beyond that, whoever watches finds out by asking."""
KNOWN = 10_000
"""Runs whose last hint is remembered."""


def group(run_id: UUID) -> str:
    """The group of those who watch a run."""
    return f"run.{run_id}"


def run_changed(run_id: UUID, seq: int = 0, *, gates: bool = False) -> None:
    """Hint, once the transaction has committed, that a run has events up to `seq`.

    `gates` says whether one of them is about a gate, which inboxes show.
    """
    transaction.on_commit(partial(_sender.hint, run_id, seq, gates=gates))


def flush(seconds: float = 1.0) -> None:
    """Wait until the hints given so far are sent; for processes about to end."""
    _sender.flush(seconds)


async def listen(to: str, heard: Callable[[], None]) -> None:
    """Call `heard` at each hint to a group, until cancelled.

    Without a channel layer it goes on trying: whoever listens also looks by the
    clock, so nothing is missed meanwhile.
    """
    warned = False
    while True:
        try:
            await _listen(to, heard)
        except Exception as error:  # noqa: BLE001  a hint is never worth a failure
            if not warned:
                logger.warning(
                    "Live hints are not heard, pages look by the clock: %s", error
                )
            warned = True
            await asyncio.sleep(1)


async def _listen(to: str, heard: Callable[[], None]) -> None:
    layer = get_channel_layer()
    if layer is None:
        message = "no channel layer is configured"
        raise LookupError(message)
    channel = await layer.new_channel()
    await layer.group_add(to, channel)
    try:
        while True:
            await layer.receive(channel)
            heard()
    finally:
        await layer.group_discard(to, channel)


class _Sender:
    """A queue of one hint per run, and the thread that empties it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._pending: dict[UUID, int] = {}
        self._gates = False
        self._sent: dict[UUID, float] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._warned = False

    def hint(self, run_id: UUID, seq: int, *, gates: bool = False) -> None:
        with self._wake:
            self._gates |= gates
            # The thread wakes by itself for what has to wait for its spacing.
            news = not self._pending or self._is_due(run_id, time.monotonic())
            self._pending[run_id] = max(seq, self._pending.get(run_id, 0))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="live-hints", daemon=True
                )
                self._thread.start()
            if news:
                self._wake.notify()

    def flush(self, seconds: float) -> None:
        with self._wake:
            self._sent.clear()
            self._wake.notify()
            self._wake.wait_for(lambda: not self._pending and not self._busy, seconds)

    def _work(self) -> None:
        # A loop of its own for as long as the process lives: the layer keeps its
        # connections per loop, and `async_to_sync` would open new ones each time.
        with asyncio.Runner() as runner:
            while True:
                due = self._next_due()
                runner.run(self._send(due))
                with self._wake:
                    self._busy = False
                    self._wake.notify_all()

    def _next_due(self) -> dict[UUID, int]:
        """Block until some run may be hinted."""
        with self._wake:
            while True:
                now = time.monotonic()
                due = [one for one in self._pending if self._is_due(one, now)]
                if due := due[:PER_TICK]:
                    break
                self._wake.wait(SPACING if self._pending else None)
            self._busy = True
            if len(self._sent) > KNOWN:
                self._sent.clear()
            self._sent.update(dict.fromkeys(due, now))
            return {run_id: self._pending.pop(run_id) for run_id in due}

    def _is_due(self, run_id: UUID, now: float) -> bool:
        return now - self._sent.get(run_id, -SPACING) >= SPACING

    async def _send(self, due: dict[UUID, int]) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        try:
            for run_id, seq in due.items():
                await layer.group_send(group(run_id), {"type": "hint", "seq": seq})
            if self._gates:
                self._gates = False
                await layer.group_send(INBOX, {"type": "hint", "seq": 0})
        except Exception as error:  # noqa: BLE001  a hint is never worth a failure
            if not self._warned:
                logger.warning("Live updates are late: no channel layer (%s).", error)
            self._warned = True
            await asyncio.sleep(SPACING)
        else:
            self._warned = False
            await asyncio.sleep(SPACING / 2)


_sender = _Sender()
# A forked child has the queue but not the thread, and perhaps a held lock.
os.register_at_fork(after_in_child=_sender.reset)
