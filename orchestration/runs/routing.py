"""Addresses of websockets."""

from typing import Any

from django.urls import path

from orchestration.runs.consumers import InboxConsumer, RunConsumer

# Django's `path` is typed for views; Channels gives it consumers, and takes it back.
websocket_urlpatterns: list[Any] = [
    path("ws/runs/<uuid:pk>/", RunConsumer.as_asgi()),  # type: ignore[arg-type]
    path("ws/inbox/", InboxConsumer.as_asgi()),  # type: ignore[arg-type]
]
