"""Hints over the channel layer: this group has news, read the database.

A hint may be lost, duplicated or late. One thread per process sends them, at most ten
times a second for each group. Channels' own `group_send` in `on_commit` would make each
step wait for Redis, and its consumers close the socket when Redis restarts.
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
"""Group of the pages that show open gates."""
SPACING = 0.1
"""Seconds between two rounds of hints."""
PER_TICK = 40
"""Maximum groups in one round."""


def hint(group: str) -> None:
    """Send a hint to a group soon."""
    _sender.hint(group)


async def listen(group: str, on_hint: Callable[[], None]) -> None:
    """Call `on_hint` at each hint to a group, until cancelled.

    Retry while Redis is away; listeners also poll, so they miss nothing.
    """
    warned = False
    while True:
        try:
            await _listen(group, on_hint)
        except Exception as error:  # noqa: BLE001  a hint is never worth a failure
            if not warned:
                logger.warning("Cannot receive live hints, so pages poll: %s", error)
            warned = True
            await asyncio.sleep(1)


async def _listen(group: str, on_hint: Callable[[], None]) -> None:
    layer = channel_layers["default"]
    channel = await layer.new_channel()
    try:
        await layer.group_add(group, channel)
        while True:
            await layer.receive(channel)
            on_hint()
    finally:
        await layer.group_discard(group, channel)


class _Sender:
    """The groups with a hint to send, and the thread that sends them."""

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
        # One event loop for all hints: the layer has connections per loop, and
        # `async_to_sync` would open new ones each time.
        with asyncio.Runner() as runner:
            while True:
                runner.run(self._send(self._next()))
                time.sleep(SPACING)

    def _next(self) -> list[str]:
        """Wait for groups, and return those of the next round."""
        with self._wake:
            self._wake.wait_for(lambda: self._pending)
            groups = list(self._pending)[:PER_TICK]
            for group in groups:
                del self._pending[group]
            return groups

    async def _send(self, groups: list[str]) -> None:
        try:
            layer = channel_layers["default"]
            for group in groups:
                await layer.group_send(group, {"type": "hint"})
        except Exception as error:  # noqa: BLE001  a hint is never worth a failure
            if not self._warned:
                logger.warning("Cannot send live hints, so pages poll: %s", error)
            self._warned = True
        else:
            self._warned = False


_sender = _Sender()
# A forked child has the queue but not the thread, and perhaps a held lock.
os.register_at_fork(after_in_child=_sender.reset)
