"""Only our own pages, and those of trusted origins, open a socket."""

from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import override_settings

from execfabric.asgi import application
from execfabric.web.sockets import SameOrigin

HOST = "localhost:8120"


async def accepts(scope, receive, send) -> None:
    await send({"type": "websocket.accept"})


async def opens(origin: str | None, *, app: Any = None, **headers: str) -> bool:
    """Return True if a socket with this Origin is accepted."""
    given = {"host": HOST, **headers} | ({"origin": origin} if origin else {})
    scope = {
        "type": "websocket",
        "path": "/ws/inbox/",
        "scheme": "ws",
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        "subprotocols": [],
    }
    socket = ApplicationCommunicator(app or SameOrigin(accepts), scope)
    await socket.send_input({"type": "websocket.connect"})
    first = await socket.receive_output(timeout=10)
    socket.stop(exceptions=False)
    return first["type"] == "websocket.accept"


async def test_our_own_page_opens_a_socket() -> None:
    assert await opens(f"http://{HOST}", app=application)
    assert not await opens("http://localhost:8130", app=application)


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param("http://localhost:8130", id="other port"),
        pytest.param("http://localhost", id="default port"),
        pytest.param(f"https://{HOST}", id="other scheme"),
        pytest.param("http://127.0.0.1:8120", id="other name"),
        pytest.param("null", id="opaque"),
        pytest.param(None, id="none"),
    ],
)
async def test_a_page_of_another_origin_does_not(origin: str | None) -> None:
    assert not await opens(origin)


@override_settings(ALLOWED_HOSTS=["console.example"])
async def test_a_host_that_is_not_ours_does_not() -> None:
    assert not await opens(f"http://{HOST}")


@override_settings(CSRF_TRUSTED_ORIGINS=["https://console.example"])
async def test_a_trusted_origin_opens_a_socket() -> None:
    assert await opens("https://console.example")
    assert not await opens("http://console.example")


@override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
async def test_behind_a_proxy_the_scheme_is_the_one_that_the_client_used() -> None:
    forwarded = {"x-forwarded-proto": "https"}

    assert await opens(f"https://{HOST}", **forwarded)
    assert not await opens(f"http://{HOST}", **forwarded)
