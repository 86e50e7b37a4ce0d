"""Events that programs send: who may, what comes back, and a repeated request."""

import pytest

from execfabric.lib.rights import Role
from orchestration.runs.models import ExternalEvent
from tests.api_builders import agent, caller, person

pytestmark = pytest.mark.django_db(transaction=True)

EVENT = {"type": "invoice.paid", "key": "7", "payload": {"amount": 120}}


@pytest.fixture
def sender():
    return caller("sender", Role.PROPOSER)


def test_an_event_is_stored_and_a_repeated_request_changes_nothing(sender):
    first = sender.post("events", EVENT, **{"Idempotency-Key": "evt-1"})
    again = sender.post("events", EVENT, **{"Idempotency-Key": "evt-1"})
    other = sender.post("events", EVENT | {"key": "8"}, **{"Idempotency-Key": "evt-1"})

    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.json()["waits"] == 0
    assert first.json()["received_at"] < first.json()["expires_at"]
    assert (other.status_code, other.json()["code"]) == (409, "request.key_reused")
    assert ExternalEvent.objects.count() == 1


def test_the_key_of_one_sender_is_not_that_of_another(sender):
    other = caller("other", Role.OPERATOR)
    ids = {
        one.post("events", EVENT, **{"Idempotency-Key": "evt-1"}).json()["id"]
        for one in (sender, other)
    }

    assert len(ids) == 2


def test_an_agent_may_send_and_an_auditor_may_not():
    bot = agent("bot", person("owner", Role.PROPOSER))
    refused = caller("auditor", Role.AUDITOR).post("events", EVENT)

    assert bot.post("events", EVENT).status_code == 201
    assert (refused.status_code, refused.json()["code"]) == (403, "auth.right_missing")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"type": "a b"}, 422, "event.invalid"),
        ({"key": "7"}, 422, "request.invalid"),
        ({"type": "a", "payload": [1]}, 422, "request.invalid"),
        ({"type": "a", "id": "7"}, 422, "request.invalid"),
        ({"type": "a", "payload": {"x": "y" * 70_000}}, 422, "event.too_large"),
        ({"type": "a", "payload": {"$file": {}}}, 422, "event.invalid"),
    ],
)
def test_a_bad_event_has_a_code(body, status, code, sender):
    answer = sender.post("events", body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not ExternalEvent.objects.exists()


def test_no_token_no_event():
    assert caller("x").__class__("ef_wrong").post("events", EVENT).status_code == 401
