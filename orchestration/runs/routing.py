"""Addresses of websockets."""

from typing import Any

from django.urls import path, re_path

from orchestration.runs.consumers import InboxConsumer, RunConsumer

UNKNOWN = 4404


async def unknown(_scope: Any, _receive: Any, send: Any) -> None:
    """Close a socket at an address that none has; the handshake is refused."""
    await send({"type": "websocket.close", "code": UNKNOWN})


# Django's `path` is typed for views; Channels gives it consumers, and takes it back.
websocket_urlpatterns: list[Any] = [
    path("ws/runs/<uuid:pk>/", RunConsumer.as_asgi()),  # type: ignore[arg-type]
    path("ws/inbox/", InboxConsumer.as_asgi()),  # type: ignore[arg-type]
    re_path("", unknown),  # type: ignore[arg-type]
]
