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

from channels.layers import channel_layers

logger = logging.getLogger(__name__)

INBOX = "inbox"
"""The group of those who watch the gates that wait for people."""
SPACING = 0.1
"""Seconds between two rounds of hints from one process."""
PER_TICK = 40
"""Groups hinted in one round at most."""


def hint(group: str) -> None:
    """Hint soon that a group has something to see."""
    _sender.hint(group)


async def listen(to: str, heard: Callable[[], None]) -> None:
    """Call `heard` at each hint to a group, until cancelled.

    Without a channel layer it keeps trying. Listeners also poll, so they miss nothing
    meanwhile.
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
    layer = channel_layers["default"]
    channel = await layer.new_channel()
    try:
        await layer.group_add(to, channel)
        while True:
            await layer.receive(channel)
            heard()
    finally:
        await layer.group_discard(to, channel)


class _Sender:
    """The groups to hint, and the thread that hints them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._pending: dict[str, None] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._warned = False

    def hint(self, group: str) -> None:
        with self._wake:
            self._pending[group] = None
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="live-hints", daemon=True
                )
                self._thread.start()
            self._wake.notify()

    def _work(self) -> None:
        # A loop of its own for as long as the process lives: the layer keeps its
        # connections per loop, and `async_to_sync` would open new ones each time.
        with asyncio.Runner() as runner:
            while True:
                runner.run(self._send(self._next()))
                time.sleep(SPACING)

    def _next(self) -> list[str]:
        """Block until there are groups to hint."""
        with self._wake:
            self._wake.wait_for(lambda: self._pending)
            first = list(self._pending)[:PER_TICK]
            for group in first:
                del self._pending[group]
            return first

    async def _send(self, due: list[str]) -> None:
        try:
            layer = channel_layers["default"]
            for group in due:
                await layer.group_send(group, {"type": "hint"})
        except Exception as error:  # noqa: BLE001  a hint is never worth a failure
            if not self._warned:
                logger.warning("Live updates are late: no channel layer (%s).", error)
            self._warned = True
        else:
            self._warned = False


_sender = _Sender()
# A forked child has the queue but not the thread, and perhaps a held lock.
os.register_at_fork(after_in_child=_sender.reset)
