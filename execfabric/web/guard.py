"""Limit what the web server handles at once; refuse the rest early."""

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
"""Maximum number of requests that wait for a slot."""
PATIENCE = 10.0
"""Seconds that a request waits for a slot."""
HELD = 64 * 1024 * 1024
"""Maximum bytes of request bodies in memory."""
ANONYMOUS_BODY = 64 * 1024
"""Maximum bytes of a body without credentials, such as a sign-in."""


class Guard:
    """Read each body within limits, then pass a limited number of requests to Django.

    A request holds its slot until its response begins, so a client that sends or reads
    slowly does not block others.
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
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > limit:
                raise _Refused(RequestTooLarge(limit))
            if self._held + len(chunk) > HELD:
                raise _Refused(ServiceBusy())
            body += chunk
            self._held += len(chunk)
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
    """A refusal by the guard, not by the application."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


class _Slot:
    """A slot that is released once."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._taken = True

    def release(self) -> None:
        if self._taken:
            self._taken = False
            self._slots.release()

    def on(self, send: Send) -> Send:
        """Return a `send` that releases the slot when the response begins."""

        async def send_and_release(message: Message) -> None:
            self.release()
            await send(message)

        return send_and_release


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns the body, then later messages."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_body() -> Message:
        return pending.pop() if pending else await receive()

    return receive_body


def _limit(scope: Message) -> int:
    """Return the largest allowed body of this request."""
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
