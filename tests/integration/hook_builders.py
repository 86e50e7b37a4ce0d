"""Build webhooks of the laboratory plan, and send signed requests to them."""

import json
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.test import Client
from standardwebhooks import Webhook

from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.triggers.models import Hook
from orchestration.triggers.services import hooks
from orchestration.triggers.services.hooks import HookSettings
from tests.builders import plan, step

SCHEMA = {
    "properties": {"word": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["word"],
}
TEXT = plan(step("a", params={"value": "$inputs.word"}), inputs=SCHEMA)
BODY = {"data": {"word": "hello", "size": 3}}


def made(by: User, **changes: Any) -> tuple[Hook, str]:
    values = {"name": "Orders", "mapping": {"word": "/data/word", "size": "/data/size"}}
    return hooks.create(
        slug="lab-plan",
        settings=HookSettings(**(values | changes)),
        by=by.actor(),
        at=clock.now(),
    )


def signed(
    secret: str, body: bytes, *, webhook_id: str = "", at: datetime | None = None
) -> dict[str, str]:
    """Return the headers that the official library sends."""
    at, webhook_id = at or clock.now(), webhook_id or f"msg-{uuid4()}"
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, body.decode()),
    }


def send(
    row: Hook,
    secret: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    **options: Any,
) -> Any:
    """Send a signed request, as another system does."""
    content = (
        raw if raw is not None else json.dumps(BODY if body is None else body).encode()
    )
    headers = signed(secret, content, **options)
    client = Client(enforce_csrf_checks=True)
    return client.post(
        f"/hooks/{row.pk}", content, content_type="application/json", headers=headers
    )


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]
