"""HTTP and websockets."""

import os
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "execfabric.settings")
# First: it loads the apps, which everything behind the sockets needs.
http = get_asgi_application()

from django.conf import settings  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from approvals.consumers import InboxConsumer  # noqa: E402
from execfabric.infra import database  # noqa: E402
from execfabric.web.guard import Guard  # noqa: E402
from execfabric.web.health import Health  # noqa: E402
from execfabric.web.origin import SameOrigin  # noqa: E402
from orchestration.runs.consumers import RunConsumer  # noqa: E402

UNKNOWN = 4404


async def unknown(_scope: Any, _receive: Any, send: Any) -> None:
    """Close a socket at an address that none has; the handshake is refused.

    Without a consumer, which would wait for the channel layer.
    """
    await send({"type": "websocket.close", "code": UNKNOWN})


# Django's `path` is typed for views; Channels gives it consumers, and takes it back.
sockets: list[Any] = [
    path("ws/runs/<uuid:pk>/", RunConsumer.as_asgi()),  # type: ignore[arg-type]
    path("ws/inbox/", InboxConsumer.as_asgi()),  # type: ignore[arg-type]
    re_path("", unknown),  # type: ignore[arg-type]
]
database.bound_transactions()
application = ProtocolTypeRouter(
    {
        "http": Health(Guard(http, slots=settings.WEB_SLOTS)),
        "websocket": SameOrigin(AuthMiddlewareStack(URLRouter(sockets))),
    }
)
