"""An id for each request: in its response, its error page and its log lines."""

import re
import secrets

from django.conf import settings
from structlog.contextvars import bound_contextvars, get_contextvars

from execfabric.web.messages import App, Message, Receive, Send

HEADER = b"x-request-id"
VALID = re.compile(rb"[\w.-]{8,64}")


class RequestId:
    """Bind an id to each request; behind our proxy, the id that the proxy sent.

    Libraries do this in Django's middleware, but `Guard` refuses before Django.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        request_id = _sent_by_proxy(scope) or secrets.token_hex(8).encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (HEADER, request_id)]
                message = {**message, "headers": headers}
            await send(message)

        with bound_contextvars(request_id=request_id.decode()):
            await self._app(scope, receive, send_with_id)


def current() -> str:
    """Return the id of the request that is being served, or ""."""
    return str(get_contextvars().get("request_id", ""))


def _sent_by_proxy(scope: Message) -> bytes:
    if not settings.BEHIND_PROXY:
        return b""
    sent = dict(scope["headers"]).get(HEADER, b"")
    return sent if VALID.fullmatch(sent) else b""
