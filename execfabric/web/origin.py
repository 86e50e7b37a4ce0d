"""Origin check of sockets, as strict as that of forms."""

from io import BytesIO

from channels.security.websocket import WebsocketDenier
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from execfabric.web.messages import App, Message, Receive, Send


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
        """Serve one connection."""
        app: App = self._app if self._is_allowed(scope) else WebsocketDenier()
        await app(scope, receive, send)

    def _is_allowed(self, scope: Message) -> bool:
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        http = {**scope, "type": "http", "method": "GET", "scheme": scheme}
        request = ASGIRequest(http, BytesIO())
        if "HTTP_ORIGIN" not in request.META:
            return False
        return bool(self._origin_verified(request))  # type: ignore[attr-defined]
