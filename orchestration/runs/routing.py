"""Addresses of websockets."""

from django.urls import path

from orchestration.runs.consumers import InboxConsumer, RunConsumer

websocket_urlpatterns = [
    path("ws/runs/<uuid:pk>/", RunConsumer.as_asgi()),
    path("ws/inbox/", InboxConsumer.as_asgi()),
]
