"""What the sockets of live pages share.

A hint, or the passing of time, makes a socket look at the record and send what has
changed, drawn by the page's own templates.
"""

import asyncio
import contextlib
import logging
import math
import time
from importlib import import_module
from typing import cast

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from execfabric.infra import live
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing
from execfabric.web.http import SignedInUser

logger = logging.getLogger(__name__)

SIGNED_OUT, REFUSED, TRY_AGAIN = 4401, 4403, 1013
LOOK_EVERY = 5.0
"""Seconds after which the record is read even without a hint."""
SPACING = 0.15
"""Seconds between two frames at least."""
BUSY_SPACING = 1.0
HEARTBEAT = 20.0
SEND_WITHIN = 10.0
CHECK_EVERY = 4.0
"""Seconds for which an answer about session and rights is believed."""


class SocketClosed(Exception):
    """The socket must close with this code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


class Watcher(AsyncWebsocketConsumer):
    """Follows one group: waits for a hint or for time, looks, sends, never twice at once."""

    channel_layer_alias = "none"
    """Hints come by `live.listen`: Channels' own way ends the socket with the layer."""
    spacing = SPACING
    group: str
    """Whose hints to hear."""

    async def connect(self) -> None:
        """Accept even where it is refused: a close before that looks like a lost line."""
        await self.accept()
        self._hint = asyncio.Event()
        self._checked_at = -math.inf
        self._sent_at = -math.inf
        """The first look always sends something: the page then knows that it is live."""
        self._tasks = [asyncio.create_task(self._follow())]

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def may_watch(self, by: Actor) -> bool:
        """Return True if `by` may watch this."""
        raise NotImplementedError

    def look(self) -> str:
        """Return what to send; empty if nothing changed.

        :raises Missing: when what is watched is not there for this user any more
        """
        raise NotImplementedError

    def heartbeat(self) -> str:
        """What to send when nothing has changed for long."""
        raise NotImplementedError

    async def _follow(self) -> None:
        try:
            await self._check()
            # Only now: one that is refused must not join the group.
            listening = live.listen(self.group, self._hint.set)
            self._tasks.append(asyncio.create_task(listening))
            while True:
                await self._turn()
        except SocketClosed as ended:
            await self.close(ended.code)
        except Missing:
            await self.close(REFUSED)
        except OSError:
            return  # the client went away while a frame was on its way
        except Exception:
            logger.exception("A live page was cut off.")
            await self.close(TRY_AGAIN)

    async def _turn(self) -> None:
        if time.monotonic() - self._checked_at > CHECK_EVERY:
            await self._check()
        html = await database_sync_to_async(self.look)()
        if not html and time.monotonic() - self._sent_at > HEARTBEAT:
            html = self.heartbeat()
        if html:
            try:  # wait for a slow client, but not for ever
                await asyncio.wait_for(self.send(text_data=html), SEND_WITHIN)
            except TimeoutError:
                raise SocketClosed(TRY_AGAIN) from None
            self._sent_at = time.monotonic()
        await asyncio.sleep(self.spacing)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hint.wait(), LOOK_EVERY)
        self._hint.clear()

    async def _check(self) -> None:
        key = self.scope["session"].session_key
        # Read again from where sessions are stored: this one may have ended.
        stored = import_module(settings.SESSION_ENGINE).SessionStore(key)
        user = await get_user({**self.scope, "session": stored})
        if not user.is_authenticated:
            raise SocketClosed(SIGNED_OUT)
        self.by = cast("SignedInUser", user).actor()
        if not await database_sync_to_async(self.may_watch)(self.by):
            raise SocketClosed(REFUSED)
        self._checked_at = time.monotonic()
