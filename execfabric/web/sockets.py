"""Origin check and base class for the sockets of live pages.

After a hint, or at intervals, a socket reads the database and sends the changed parts
of its page, rendered with the templates of the page.
"""

import asyncio
import contextlib
import logging
import math
import time
from importlib import import_module
from io import BytesIO
from typing import cast

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from execfabric.infra import live
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing
from execfabric.web.http import SignedInUser
from execfabric.web.messages import App, Message, Receive, Send

logger = logging.getLogger(__name__)

SIGNED_OUT, REFUSED, TRY_AGAIN = 4401, 4403, 1013
LOOK_EVERY = 5.0
"""Seconds after which the database is read without a hint."""
SPACING = 0.15
"""Minimum seconds between two frames."""
BUSY_SPACING = 1.0
HEARTBEAT = 20.0
SEND_WITHIN = 10.0
CHECK_EVERY = 4.0
"""Seconds for which session and rights are cached."""


class SocketClosed(Exception):
    """The socket must be closed with this code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


class Watcher(AsyncWebsocketConsumer):
    """A socket that sends what has changed after each hint or timeout."""

    channel_layer_alias = "none"
    """Hints come from `live.listen`: Channels would close the socket when Redis restarts."""
    spacing = SPACING
    group: str
    """Group whose hints to follow."""

    async def connect(self) -> None:
        """Accept first: an early refusal looks like a lost connection."""
        await self.accept()
        self._hint = asyncio.Event()
        self._checked_at = -math.inf
        self._sent_at = -math.inf
        """Makes a first frame due, which marks the page as live."""
        self._tasks = [asyncio.create_task(self._follow())]

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def may_watch(self, by: Actor) -> bool:
        """Return True if `by` may see the page of this socket."""
        raise NotImplementedError

    def look(self) -> str:
        """Return the HTML to send, or "" if nothing has changed.

        :raises Missing: when the user can no longer see the subject
        """
        raise NotImplementedError

    def heartbeat(self) -> str:
        """Return the HTML to send after a long time without changes."""
        raise NotImplementedError

    async def _follow(self) -> None:
        try:
            await self._check()
            # After the check: a refused socket must not join the group.
            listening = live.listen(self.group, self._hint.set)
            self._tasks.append(asyncio.create_task(listening))
            while True:
                await self._turn()
        except SocketClosed as closed:
            await self.close(closed.code)
        except Missing:
            await self.close(REFUSED)
        except OSError:
            return  # the client went away
        except Exception:
            logger.exception("Cannot update a live page; its socket was closed.")
            await self.close(TRY_AGAIN)

    async def _turn(self) -> None:
        if time.monotonic() - self._checked_at > CHECK_EVERY:
            await self._check()
        html = await database_sync_to_async(self.look)()
        if not html and time.monotonic() - self._sent_at > HEARTBEAT:
            html = self.heartbeat()
        if html:
            try:  # a slow client must not block for long
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
        # Load the session again: it may have ended.
        stored = import_module(settings.SESSION_ENGINE).SessionStore(key)
        user = await get_user({**self.scope, "session": stored})
        if not user.is_authenticated:
            raise SocketClosed(SIGNED_OUT)
        self.by = cast("SignedInUser", user).actor()
        if not await database_sync_to_async(self.may_watch)(self.by):
            raise SocketClosed(REFUSED)
        self._checked_at = time.monotonic()


class SameOrigin(CsrfViewMiddleware):
    """Refuse a socket from an origin that is not ours and not trusted.

    Like Django for a form, compare scheme, host and port. Channels compares only the
    host, which other services on it share.
    """

    def __init__(self, app: App) -> None:
        super().__init__(lambda _request: HttpResponse())
        self._app = app

    async def __call__(  # type: ignore[override]
        self, scope: Message, receive: Receive, send: Send
    ) -> None:
        app: App = self._app if self._is_allowed(scope) else WebsocketDenier()
        await app(scope, receive, send)

    def _is_allowed(self, scope: Message) -> bool:
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        http = {**scope, "type": "http", "method": "GET", "scheme": scheme}
        request = ASGIRequest(http, BytesIO())
        if "HTTP_ORIGIN" not in request.META:
            return False
        return bool(self._origin_verified(request))  # type: ignore[attr-defined]
