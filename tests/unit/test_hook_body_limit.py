"""The web server's limit of a body that is sent to a webhook."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings

from execfabric.web.guard import Guard

HOOK = f"/hooks/{uuid4()}"
TOKEN = [(b"authorization", b"Bearer anyone")]
LIMIT = 256 << 10


def sent(path: str, size: int, headers: Any = (), parts: int = 1) -> tuple[int, Any]:
    """Send a body; return the bytes that the application read, and the response."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [*headers, (b"accept", b"*/*")],
    }
    messages = [
        {"type": "http.request", "body": b"x" * (size // parts), "more_body": left > 0}
        for left in reversed(range(parts))
    ]
    read, answers = bytearray(), []

    async def app(_: Any, receive: Any, __: Any) -> None:
        while True:
            message = await receive()
            read.extend(message["body"])
            if not message.get("more_body"):
                return

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(Guard(app, slots=1)(scope, receive, send))
    return len(read), answers


def test_a_body_within_the_limit_of_webhooks_is_read_without_credentials() -> None:
    assert settings.LARGEST_HOOK_BODY == LIMIT
    assert sent(HOOK, LIMIT) == (LIMIT, [])
    assert sent("/accounts/login/", 65 << 10)[0] == 0


@pytest.mark.parametrize("headers", [(), TOKEN, [(b"cookie", b"sessionid=x")]])
@pytest.mark.parametrize("parts", [1, 4])
def test_a_larger_one_is_refused_as_a_problem_with_any_headers(headers, parts) -> None:
    read, (start, body) = sent(HOOK, LIMIT + 4, headers, parts)

    assert (read, start["status"]) == (0, 413)
    assert dict(start["headers"])[b"content-type"] == b"application/problem+json"
    problem = json.loads(body["body"])
    assert (problem["code"], problem["limit"]) == ("request.too_large", LIMIT)
