"""The only file that talks to the channel layer: hints that something changed.

A hint carries no fact, only which group should look. It may be lost, doubled or late:
those who watch read the record. Hints are sent by one thread per process, so that no
step waits for them, and each group is hinted at most ten times a second.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable

from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

INBOX = "inbox"
"""The group of those who watch the gates that wait for people."""
SPACING = 0.1
"""Seconds between two hints to one group from one process."""
PER_TICK = 20
"""Groups hinted per SPACING at most: beyond that, those who watch look by the clock."""
KNOWN = 10_000
"""Groups whose last hint is remembered."""


def hint(group: str, seq: int) -> None:
    """Hint soon that a group has something to see, up to event `seq`."""
    _sender.hint(group, seq)


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
    """A queue of one hint per group, and the thread that empties it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._pending: dict[str, int] = {}
        self._sent: dict[str, float] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._warned = False

    def hint(self, group: str, seq: int) -> None:
        with self._wake:
            # The thread wakes by itself for what has to wait for its spacing.
            news = not self._pending or self._is_due(group, time.monotonic())
            self._pending[group] = max(seq, self._pending.get(group, 0))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="live-hints", daemon=True
                )
                self._thread.start()
            if news:
                self._wake.notify()

    def _work(self) -> None:
        # A loop of its own for as long as the process lives: the layer keeps its
        # connections per loop, and `async_to_sync` would open new ones each time.
        with asyncio.Runner() as runner:
            while True:
                runner.run(self._send(self._next_due()))

    def _next_due(self) -> dict[str, int]:
        """Block until some group may be hinted."""
        with self._wake:
            while True:
                now = time.monotonic()
                due = [one for one in self._pending if self._is_due(one, now)]
                if due := due[:PER_TICK]:
                    break
                self._wake.wait(SPACING if self._pending else None)
            if len(self._sent) > KNOWN:
                self._sent.clear()
            self._sent.update(dict.fromkeys(due, now))
            return {group: self._pending.pop(group) for group in due}

    def _is_due(self, group: str, now: float) -> bool:
        return now - self._sent.get(group, -SPACING) >= SPACING

    async def _send(self, due: dict[str, int]) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        try:
            for group, seq in due.items():
                await layer.group_send(group, {"type": "hint", "seq": seq})
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
