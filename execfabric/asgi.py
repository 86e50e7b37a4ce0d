"""HTTP and websockets."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "execfabric.settings")
# First: it loads the apps, which everything behind the sockets needs.
http = get_asgi_application()

from django.conf import settings  # noqa: E402

from execfabric import database  # noqa: E402
from execfabric.web.guard import Guard  # noqa: E402
from execfabric.web.health import Health  # noqa: E402
from execfabric.web.origin import SameOrigin  # noqa: E402
from orchestration.runs.routing import websocket_urlpatterns  # noqa: E402

database.bound_transactions()
application = ProtocolTypeRouter(
    {
        "http": Health(Guard(http, slots=settings.WEB_SLOTS)),
        "websocket": SameOrigin(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
