"""Types of ASGI, and a function that sends a whole response."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
App = Any
"""An ASGI application; Django, Channels and asgiref type it differently."""


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    start = {"status": status, "headers": [*headers, length]}
    await send({"type": "http.response.start", **start})
    await send({"type": "http.response.body", "body": body})
