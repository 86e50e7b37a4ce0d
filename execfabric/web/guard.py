"""Bounds what the web server takes on at once; refuses the rest early and cheaply."""

import asyncio
from io import BytesIO

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django_htmx.middleware import HtmxDetails

from execfabric.lib.refusal import Refusal
from execfabric.web import errors
from execfabric.web.messages import App, Message, Receive, Send, respond
from execfabric.web.problems import RequestTooLarge, ServiceBusy

QUEUE = 500
"""Requests that may wait for a slot."""
PATIENCE = 10.0
"""Seconds for which a request waits for a slot."""
HELD = 64 * 1024 * 1024
"""Bytes of request bodies in memory at once."""
ANONYMOUS_BODY = 64 * 1024
"""Bytes of a body that comes without any credentials: room for a sign-in."""


class Guard:
    """Reads each body whole, within limits, then lets a bounded number into Django.

    A request holds its slot until its response begins: a client that sends or reads
    slowly keeps no one else waiting.
    """

    def __init__(self, app: App, *, slots: int) -> None:
        self._app = app
        self._slots = asyncio.Semaphore(slots)
        self._waiting = 0
        self._held = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            if await self._read(scope, receive, body):
                slot = await self._slot()
                try:
                    await self._app(scope, _replay(bytes(body), receive), slot.on(send))
                finally:
                    slot.release()
        except _Refused as refused:
            await _send_refusal(scope, send, refused.refusal)
        finally:
            self._held -= len(body)

    async def _read(self, scope: Message, receive: Receive, body: bytearray) -> bool:
        """Read the body into `body`; return False if the client went away."""
        limit = _limit(scope)
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > limit:
            raise _Refused(RequestTooLarge(limit))
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            piece = message.get("body", b"")
            if len(body) + len(piece) > limit:
                raise _Refused(RequestTooLarge(limit))
            if self._held + len(piece) > HELD:
                raise _Refused(ServiceBusy())
            body += piece
            self._held += len(piece)
            more = message.get("more_body", False)
        return True

    async def _slot(self) -> "_Slot":
        if self._slots.locked() and self._waiting >= QUEUE:
            raise _Refused(ServiceBusy())
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self._slots.acquire()
        except TimeoutError:
            raise _Refused(ServiceBusy()) from None
        finally:
            self._waiting -= 1
        return _Slot(self._slots)


class _Refused(Exception):
    """A refusal of the guard itself, never one of the application behind it."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


class _Slot:
    """One taken slot, released once."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._taken = True

    def release(self) -> None:
        if self._taken:
            self._taken = False
            self._slots.release()

    def on(self, send: Send) -> Send:
        """Return a `send` that releases the slot when the response begins."""

        async def releasing(message: Message) -> None:
            self.release()
            await send(message)

        return releasing


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body in one piece, then what follows it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replaying() -> Message:
        return waiting.pop() if waiting else await receive()

    return replaying


def _limit(scope: Message) -> int:
    """Return the largest body that this request may have."""
    session = f"{settings.SESSION_COOKIE_NAME}=".encode()
    if _header(scope, b"authorization") or session in _header(scope, b"cookie"):
        return settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return ANONYMOUS_BODY


def _header(scope: Message, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


async def _send_refusal(scope: Message, send: Send, refusal: Refusal) -> None:
    request = ASGIRequest(scope, BytesIO())
    request.htmx = HtmxDetails(request)  # type: ignore[attr-defined]
    response = errors.refused(request, refusal)
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.items()
    ]
    await respond(send, response.status_code, headers, response.content)
