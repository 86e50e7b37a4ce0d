"""The ASGI application: HTTP and websockets."""

import os
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "execfabric.settings")
# First, because it loads the apps that the imports below need.
http = get_asgi_application()

from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from approvals.consumers import InboxConsumer  # noqa: E402
from execfabric.infra import database, memory  # noqa: E402
from execfabric.web.guard import Guard  # noqa: E402
from execfabric.web.health import Health  # noqa: E402
from execfabric.web.request_id import RequestId  # noqa: E402
from execfabric.web.sockets import SameOrigin  # noqa: E402
from orchestration.runs.consumers import RunConsumer  # noqa: E402

UNKNOWN = 4404

if settings.HASHED_STATIC and not (settings.STATIC_ROOT / "staticfiles.json").exists():
    # Otherwise every page would be an error, and the service would look healthy.
    raise ImproperlyConfigured(
        f"Cannot start: {settings.STATIC_ROOT} has no static files. Run"
        " `manage.py collectstatic --no-input` on this host."
    )


async def unknown(_scope: Any, _receive: Any, send: Any) -> None:
    """Refuse a socket at an unknown address.

    A consumer would wait for the channel layer first.
    """
    await send({"type": "websocket.close", "code": UNKNOWN})


# Django's `path` is typed for views; Channels passes it consumers.
sockets: list[Any] = [
    path("ws/runs/<uuid:pk>/", RunConsumer.as_asgi()),  # type: ignore[arg-type]
    path("ws/inbox/", InboxConsumer.as_asgi()),  # type: ignore[arg-type]
    re_path("", unknown),  # type: ignore[arg-type]
]
database.bound_transactions()
memory.settle()
application = ProtocolTypeRouter(
    {
        "http": Health(RequestId(Guard(http, slots=settings.WEB_SLOTS))),
        "websocket": RequestId(SameOrigin(AuthMiddlewareStack(URLRouter(sockets)))),
    }
)
