"""Secrets of webhooks: who rotates them, and how long the old one is valid."""

import json
from datetime import datetime, timedelta

import pytest
from standardwebhooks import Webhook

from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans.services import saving
from orchestration.triggers.errors import (
    HookChanged,
    HookSignatureInvalid,
    PayloadInvalid,
    TriggerNotManaged,
)
from orchestration.triggers.models import Hook
from orchestration.triggers.services import deliveries, hooks
from orchestration.triggers.services.hooks import HookSettings
from tests.builders import plan, step
from tests.console_builders import codes, rows, signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

Made = tuple[Hook, str]


@pytest.fixture
def hook(proposer: User) -> Made:
    text = plan(step("a"), inputs={"properties": {"word": {"type": "string"}}})
    saving.save_plan(text=text, by=proposer.actor(), at=clock.now())
    return hooks.create(
        slug="lab-plan",
        settings=HookSettings(name="Orders", mapping={"word": "/word"}),
        by=proposer.actor(),
        at=clock.now(),
    )


def sent(row: Hook, secret: str, body: bytes, at: datetime) -> None:
    webhook_id = f"msg-{at.timestamp()}-{secret[-12:]}"
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, body.decode()),
    }
    deliveries.deliver(hook_id=row.pk, headers=headers, body=body, at=at)


def test_only_the_owner_rotates_the_secret(hook, proposer, admin) -> None:
    row, _ = hook
    address = f"/webhooks/{row.pk}"
    with pytest.raises(TriggerNotManaged, match="Only the owner"):
        hooks.rotate(hook_id=row.pk, by=admin.actor(), at=clock.now())

    page = signed_in(admin).get(address)
    tried = signed_in(admin).post(f"{address}/rotate", {"version": row.version})

    assert (rows(page, "hook-rotate"), rows(page, "hook-pause")) == (0, 1)
    assert codes(tried) == ["trigger.not_managed"]
    assert Hook.objects.get().salt == row.salt
    assert rows(signed_in(proposer).get(address), "hook-rotate") == 1


def test_two_rotations_in_a_day_keep_the_secret_that_is_in_use(hook, proposer) -> None:
    row, in_use = hook
    at = clock.now()
    body = json.dumps({"word": "x"}).encode()

    _, between = hooks.rotate(hook_id=row.pk, by=proposer.actor(), at=at)
    hour = at + timedelta(hours=1)
    _, newest = hooks.rotate(hook_id=row.pk, by=proposer.actor(), at=hour)

    sent(row, in_use, body, hour)
    sent(row, newest, body, hour)
    with pytest.raises(HookSignatureInvalid):
        sent(row, between, body, hour)
    with pytest.raises(HookSignatureInvalid):
        sent(row, in_use, body, at + hooks.OVERLAP)


def test_reloading_the_page_of_a_new_secret_makes_no_other(hook, proposer) -> None:
    row, _ = hook
    client, address = signed_in(proposer), f"/webhooks/{row.pk}/rotate"

    first = client.post(address, {"version": row.version})
    salt = Hook.objects.get().salt
    again = [client.post(address, data) for data in ({"version": row.version}, {})]

    assert "whsec_" in first.content.decode()
    assert [codes(each) for each in again] == [["hook.changed"]] * 2
    assert not any("whsec_" in each.content.decode() for each in again)
    assert Hook.objects.get().salt == salt != row.salt
    with pytest.raises(HookChanged):
        hooks.rotate(hook_id=row.pk, version=0, by=proposer.actor(), at=clock.now())


def test_a_long_text_of_the_sender_is_cut_in_the_record(hook) -> None:
    row, secret = hook
    key = json.dumps("k" * 100_000)
    body = f"{{{key}: 1, {key}: 2}}".encode()

    with pytest.raises(PayloadInvalid):
        sent(row, secret, body, clock.now())

    stored = row.deliveries.get()
    assert stored.code == "hook.payload_invalid"
    assert stored.message.startswith("The body is not valid: Cannot read the JSON: dup")
    assert len(stored.message) < 300
