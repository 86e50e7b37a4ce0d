"""Webhooks: secrets, replay, refusals, and one run for each webhook-id."""

import json
from contextlib import suppress
from datetime import timedelta
from itertools import cycle
from uuid import uuid4

import pytest
from django.conf import settings as configured
from django.db import connection
from django.test import Client

from approvals.errors import OwnProposal
from execfabric.identity.models import User
from execfabric.infra import disk
from execfabric.infra.disk import DiskFull
from execfabric.lib import clock
from orchestration.plans.services import saving
from orchestration.runs.models import Run
from orchestration.trace.services import streams
from orchestration.triggers.errors import (
    HookSignatureInvalid,
)
from orchestration.triggers.models import Delivery, Hook
from orchestration.triggers.services import deliveries, hooks
from tests.builders import decided, end_dry_runs, open_gate
from tests.database import at_once, refuses
from tests.integration.hook_builders import BODY, TEXT, code, made, send, signed
from tests.integration.test_fault_injection import (
    IN_STATEMENTS,
    SERVER_AWAY,
    STATEMENTS,
    Faults,
)
from tests.record import is_whole, kinds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


@pytest.fixture
def saved(proposer: User) -> None:
    saving.save_plan(text=TEXT, by=proposer.actor(), at=clock.now())


@pytest.fixture
def hook(saved: None, proposer: User) -> tuple[Hook, str]:
    return made(proposer)


def test_a_signed_request_proposes_a_run_that_the_owner_cannot_approve(
    hook, proposer, operator
) -> None:
    row, secret = hook

    answer = send(row, secret)

    run = Run.objects.get()
    assert answer.status_code == 202
    assert answer.json() == {
        "run_id": str(run.pk),
        "state": "awaiting_approval",
        "url": f"http://testserver/runs/{run.pk}",
    }
    assert run.inputs == {"word": "hello", "size": 3}
    assert run.proposed_by() == proposer.actor()
    assert kinds(row) == ["hook.created", "hook.delivered"]
    assert is_whole(row)
    assert (row.stream, True) in streams.register()
    proposer.groups.add(*operator.groups.all())
    end_dry_runs()
    with pytest.raises(OwnProposal):
        decided(open_gate(run), proposer)


def test_the_same_webhook_id_returns_the_same_run(hook, proposer) -> None:
    (row, secret), (other, other_secret) = hook, made(proposer)

    first = send(row, secret, webhook_id="msg-1")
    again = send(row, secret, webhook_id="msg-1")
    changed = send(row, secret, {"data": {"word": "other"}}, webhook_id="msg-1")
    elsewhere = send(other, other_secret, webhook_id="msg-1")

    assert again.json() == changed.json() == first.json()
    assert elsewhere.json() != first.json()
    assert Run.objects.count() == 2
    assert kinds(row) == ["hook.created", "hook.delivered"]


def test_a_request_without_a_valid_signature_is_counted_but_not_recorded(hook) -> None:
    row, secret = hook
    late = clock.now() - timedelta(minutes=6)

    refusals = [
        code(send(row, "whsec_" + "A" * 43 + "=")),
        code(send(row, secret, at=late)),
        code(Client().post(f"/hooks/{row.pk}", b"{}", content_type="text/plain")),
    ]

    row.refresh_from_db()
    assert refusals == [
        (401, "hook.signature_invalid"),
        (401, "hook.timestamp_invalid"),
        (400, "hook.headers_invalid"),
    ]
    assert (row.rejected, row.rejected_code) == (3, "hook.headers_invalid")
    assert not Run.objects.exists()
    assert kinds(row) == ["hook.created"]
    assert is_whole(row)


@pytest.mark.parametrize(
    ("raw", "status", "refusal"),
    [
        (b"", 400, "hook.payload_invalid"),
        (b"{", 400, "hook.payload_invalid"),
        (b'{"a": 1, "a": 2}', 400, "hook.payload_invalid"),
        (b'{"data": {"word": "a\\u0000b"}}', 400, "hook.payload_invalid"),
        (b"[" * 200 + b"]" * 200, 400, "hook.payload_invalid"),
        (b"{}", 422, "plan.invalid"),
        (b'{"data": {"word": 7}}', 422, "plan.invalid"),
        (b'"' + b"x" * (256 << 10) + b'"', 413, "request.too_large"),
    ],
)
def test_a_signed_request_that_cannot_run_is_refused_with_its_code(
    hook, raw, status, refusal
) -> None:
    row, secret = hook

    first = send(row, secret, raw=raw, webhook_id="msg-1")
    send(row, secret, raw=raw, webhook_id="msg-1")

    assert code(first) == (status, refusal)
    assert "problems" not in first.json()
    assert not Run.objects.exists()
    if status != 413:
        assert [each.code for each in row.deliveries.all()] == [refusal]
        assert kinds(row) == ["hook.created", "hook.refused"]
    assert is_whole(row)


def test_a_refused_request_may_succeed_later_with_the_same_webhook_id(hook) -> None:
    row, secret = hook

    refused = send(row, secret, {}, webhook_id="msg-1")
    accepted = send(row, secret, webhook_id="msg-1")

    assert (refused.status_code, accepted.status_code) == (422, 202)
    assert [each.outcome for each in row.deliveries.order_by("pk")] == [
        "refused",
        "proposed",
    ]


def test_forms_and_other_methods_are_refused(hook) -> None:
    row, _ = hook
    client = Client(enforce_csrf_checks=True)

    assert client.get(f"/hooks/{row.pk}").status_code == 405
    form = client.post(f"/hooks/{row.pk}", {"a": "b"})
    assert form.json()["code"] in {"hook.payload_invalid", "hook.headers_invalid"}
    unknown = client.post(f"/hooks/{uuid4()}", b"{}", content_type="text/plain")
    assert code(unknown) == (404, "hook.unknown")


def test_a_rotated_secret_overlaps_with_the_old_one_for_a_day(hook, proposer) -> None:
    row, old = hook
    at = clock.now()

    row, new = hooks.rotate(hook_id=row.pk, by=proposer.actor(), at=at)

    assert old != new
    assert send(row, old).status_code == 202
    assert send(row, new).status_code == 202
    later = at + hooks.OVERLAP
    body = json.dumps(BODY).encode()
    with pytest.raises(HookSignatureInvalid):
        deliveries.deliver(
            hook_id=row.pk, headers=signed(old, body, at=later), body=body, at=later
        )
    deliveries.deliver(
        hook_id=row.pk, headers=signed(new, body, at=later), body=body, at=later
    )
    assert is_whole(row)


def test_no_table_has_the_secret_and_a_new_key_keeps_it_valid(
    hook, monkeypatch
) -> None:
    row, secret = hook
    text = secret.removeprefix("whsec_")
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(h)::text FROM triggers_hook h")
        assert text not in cursor.fetchone()[0]
        cursor.execute("SELECT convert_from(body, 'UTF8') FROM audit_event")
        assert not any(text in body for (body,) in cursor.fetchall())

    monkeypatch.setattr(configured, "SECRET_KEY_FALLBACKS", [configured.SECRET_KEY])
    monkeypatch.setattr(configured, "SECRET_KEY", "another key")
    assert send(row, secret).status_code == 202
    monkeypatch.setattr(configured, "SECRET_KEY_FALLBACKS", [])
    assert code(send(row, secret)) == (401, "hook.signature_invalid")


def test_the_rate_of_signed_requests_is_bounded_apart_from_others(
    hook, monkeypatch
) -> None:
    row, secret = hook
    monkeypatch.setattr(configured, "HOOKS_PER_MINUTE", 2)

    unsigned = [send(row, "whsec_AAAA").status_code for _ in range(3)]
    sent = [send(row, secret, webhook_id="msg-1") for _ in range(3)]

    assert unsigned == [401, 401, 429]
    assert [each.status_code for each in sent] == [202, 202, 429]
    assert sent[-1].headers["Retry-After"]
    row.refresh_from_db()
    assert row.rejected == 2


def test_a_deactivated_owner_proposes_nothing(hook, proposer) -> None:
    row, secret = hook
    proposer.is_active = False
    proposer.save()

    assert code(send(row, secret)) == (403, "trigger.owner_inactive")
    assert kinds(row)[-1] == "hook.refused"


def test_a_full_disk_is_a_reason_to_send_again(hook, monkeypatch) -> None:
    row, secret = hook
    with monkeypatch.context() as patch:
        patch.setattr(disk, "require_space", lambda: (_ for _ in ()).throw(DiskFull()))
        full = send(row, secret, webhook_id="msg-1")
    assert (full.status_code, row.deliveries.count()) == (503, 0)

    assert send(row, secret, webhook_id="msg-1").status_code == 202


def test_deliveries_are_never_changed_and_webhooks_never_removed(hook) -> None:
    row, secret = hook
    send(row, secret)
    refuses("UPDATE triggers_delivery SET message = 'x'")
    refuses("DELETE FROM triggers_delivery")
    refuses("DELETE FROM triggers_hook")


@pytest.mark.django_db(transaction=True)
def test_the_same_request_at_once_proposes_one_run(hook) -> None:
    row, secret = hook

    def deliver() -> tuple[int, str]:
        answer = send(row, secret, webhook_id="msg-1")
        return answer.status_code, answer.json()["run_id"]

    [(status, _)] = set(at_once(*[deliver] * 4))
    assert status == 202
    assert Run.objects.count() == Delivery.objects.count() == 1
    assert is_whole(row)


@pytest.mark.django_db(transaction=True)
def test_no_error_at_a_statement_doubles_or_loses_a_delivery(hook, monkeypatch) -> None:
    row, secret = hook
    monkeypatch.setattr(configured, "DRY_RUNS_PER_ACTOR", 1_000)
    monkeypatch.setattr(configured, "HOOKS_PER_MINUTE", 10_000)
    faults, errors = Faults(), cycle(IN_STATEMENTS)
    faults.watch(monkeypatch, STATEMENTS)
    body = json.dumps(BODY).encode()

    def sent(target: int, error: Exception | None, *, after: bool = False) -> int:
        """Send until the answer is known, as a sender does; return the number of runs."""
        webhook_id = f"msg-{uuid4()}"
        faults.arm(target, error, after=after)
        for _ in range(2):
            at = clock.now()
            headers = signed(secret, body, webhook_id=webhook_id, at=at)
            with suppress(Exception):
                deliveries.deliver(hook_id=row.pk, headers=headers, body=body, at=at)
                break
            faults.is_armed = False
            connection.close()
        faults.is_armed = False
        return Run.objects.filter(delivery__webhook_id=webhook_id).count()

    sent(-1, None)
    expected = sent(-1, None)
    places, ended = list(faults.places), {}
    for number, place in enumerate(places):
        error = next(errors)
        ended[f"{number} {error!r}"] = sent(number, error)
        if place == "Connection.commit":
            ended[f"after {number}"] = sent(number, SERVER_AWAY, after=True)

    assert expected == 1
    assert {key: runs for key, runs in ended.items() if runs != 1} == {}
    assert Run.objects.count() == len(ended) + 2
    assert len(places) > 20
    assert is_whole(row)
