"""Limit what the web server handles at once; refuse the rest early."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django_htmx.middleware import HtmxDetails

from execfabric.lib.refusal import Refusal
from execfabric.web import errors
from execfabric.web.body import RequestBody
from execfabric.web.messages import App, Message, Receive, Send, respond
from execfabric.web.problems import RequestTooLarge, ServiceBusy

QUEUE = 500
"""Maximum number of requests that wait for a slot."""
PATIENCE = 10.0
"""Seconds that a request waits for a slot."""
HELD = 64 * 1024 * 1024
"""Maximum bytes of request bodies in memory."""
SPOOLED = 1024 * 1024 * 1024
"""Maximum bytes of uploads in temporary files."""
_UPLOADS = re.compile(settings.UPLOAD_PATHS)
_HOOKS = re.compile(settings.HOOK_PATHS)
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
        self._spooled = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = RequestBody()
        try:
            await self._serve(scope, receive, send, body)
        finally:
            self._held -= body.in_memory
            self._spooled -= body.on_disk
            body.close()

    async def _serve(
        self, scope: Message, receive: Receive, send: Send, body: RequestBody
    ) -> None:
        try:
            if not await self._read(scope, receive, body):
                return
            slot = await self._slot()
        except Refusal as refusal:
            await _send_refusal(scope, send, refusal)
            return
        with slot:
            body_again = _replay(body.messages(), receive)
            await self._app(scope, body_again, _releasing(slot, send))

    async def _read(self, scope: Message, receive: Receive, body: RequestBody) -> bool:
        """Read the body into `body`; return False if the client went away."""
        limit = _limit(scope)
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > limit:
            raise RequestTooLarge(limit)
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk = message.get("body", b"")
            if body.size + len(chunk) > limit:
                raise RequestTooLarge(limit)
            self._take(body, chunk)
            more = message.get("more_body", False)
        return True

    def _take(self, body: RequestBody, chunk: bytes) -> None:
        """Add a part to a body, within what all bodies may use together."""
        if body.spills(chunk):
            if self._spooled + body.in_memory + len(chunk) > SPOOLED:
                raise ServiceBusy
        elif chunk and self._held + len(chunk) > HELD:
            raise ServiceBusy
        self._held -= body.in_memory
        self._spooled -= body.on_disk
        try:
            body.append(chunk)
        finally:
            self._held += body.in_memory
            self._spooled += body.on_disk

    async def _slot(self) -> ExitStack:
        """Wait for a slot; the first `close` releases it."""
        if self._slots.locked() and self._waiting >= QUEUE:
            raise ServiceBusy
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self._slots.acquire()
        except TimeoutError:
            raise ServiceBusy from None
        finally:
            self._waiting -= 1
        slot = ExitStack()
        slot.callback(self._slots.release)
        return slot


def _releasing(slot: ExitStack, send: Send) -> Send:
    """Return a `send` that releases the slot when the response begins."""

    async def release_and_send(message: Message) -> None:
        slot.close()
        await send(message)

    return release_and_send


def _replay(body: Iterator[Message], receive: Receive) -> Receive:
    """Return a `receive` that returns the body, then later messages."""

    async def receive_body() -> Message:
        return next(body, None) or await receive()

    return receive_body


def _limit(scope: Message) -> int:
    """Return the largest allowed body of this request."""
    if _HOOKS.fullmatch(scope["path"]):
        # Signed, so it has no credentials here; anyone can send a header that looks so.
        largest: int = settings.LARGEST_HOOK_BODY
        return largest
    session = f"{settings.SESSION_COOKIE_NAME}=".encode()
    if not _header(scope, b"authorization") and session not in _header(
        scope, b"cookie"
    ):
        return ANONYMOUS_BODY
    largest_form: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if _UPLOADS.fullmatch(scope["path"]):
        return largest_form + settings.MAX_UPLOAD_BYTES
    return largest_form


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
