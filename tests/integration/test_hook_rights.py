"""Webhooks: who may have one, its settings and its pages."""

import pytest
from django.test import Client

from execfabric.identity.errors import RightMissing
from execfabric.identity.models import Agent, User
from execfabric.lib import clock
from orchestration.plans.errors import PlanNotPermitted
from orchestration.plans.services import saving
from orchestration.runs.models import Run
from orchestration.triggers.errors import (
    FileNotHeld,
    HookUnknown,
    MappingInvalid,
    TriggerNameInvalid,
    TriggerNeedsPerson,
    TriggerNotManaged,
)
from orchestration.triggers.models import Hook
from orchestration.triggers.services import hooks
from tests.builders import plan, step
from tests.console_builders import signed_in, words
from tests.integration.hook_builders import TEXT, code, made, send
from tests.record import is_whole, kinds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


@pytest.fixture
def saved(proposer: User) -> None:
    saving.save_plan(text=TEXT, by=proposer.actor(), at=clock.now())


@pytest.fixture
def hook(saved: None, proposer: User) -> tuple[Hook, str]:
    return made(proposer)


def test_it_is_paused_resumed_and_deleted(hook, proposer, operator, admin) -> None:
    row, secret = hook
    with pytest.raises(TriggerNotManaged):
        hooks.pause(hook_id=row.pk, by=operator.actor(), at=clock.now())

    hooks.pause(hook_id=row.pk, by=admin.actor(), at=clock.now())
    paused = send(row, secret)
    hooks.resume(hook_id=row.pk, by=proposer.actor(), at=clock.now())
    resumed = send(row, secret)
    hooks.delete(hook_id=row.pk, by=proposer.actor(), at=clock.now())
    deleted = send(row, secret)

    assert code(paused) == (409, "hook.paused")
    assert resumed.status_code == 202
    assert code(deleted) == (404, "hook.unknown")
    assert is_whole(row)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"name": ""}, TriggerNameInvalid),
        ({"mapping": {"word": "word"}}, MappingInvalid),
        ({"mapping": {"other": "/a", "word": "/b"}}, MappingInvalid),
        ({"mapping": {"size": "/a"}}, MappingInvalid),
        ({"inputs": {"word": "x"}}, MappingInvalid),
    ],
)
def test_settings_that_do_not_fit_the_plan_are_refused(
    saved, proposer, changes, refusal
) -> None:
    with pytest.raises(refusal):
        made(proposer, **changes)

    assert not Hook.objects.exists()


def test_fixed_inputs_are_added(saved, proposer) -> None:
    row, secret = made(proposer, mapping={"size": "/size"}, inputs={"word": "fixed"})

    send(row, secret, {"size": 1})

    assert Run.objects.get().inputs == {"word": "fixed", "size": 1}


def test_a_file_is_not_an_input_of_a_webhook(proposer) -> None:
    schema = {"properties": {"doc": {"type": "string", "format": "file"}}}
    text = plan(step("a"), inputs=schema)
    saving.save_plan(text=text, by=proposer.actor(), at=clock.now())

    with pytest.raises(FileNotHeld):
        made(proposer, mapping={"doc": "/doc"})


def test_only_users_who_may_start_the_plan_create_webhooks(
    saved, proposer, operator, stranger
) -> None:
    agent = Agent.objects.create(name="bot", owner=proposer, created_at=clock.now())

    with pytest.raises(PlanNotPermitted):
        made(operator)
    with pytest.raises(RightMissing):
        made(stranger)
    with pytest.raises(TriggerNeedsPerson):
        made(agent)
    row, _ = made(proposer)
    with pytest.raises(HookUnknown):
        hooks.rotate(hook_id=row.pk, by=stranger.actor(), at=clock.now())


def test_a_webhook_is_created_shown_rotated_and_deleted_on_its_pages(
    saved, proposer, operator
) -> None:
    client = signed_in(proposer)
    sent = {"plan": "lab-plan", "name": "Orders", "mapping": "word: /data/word"}

    assert "choose-plan" in client.get("/webhooks/new").content.decode()
    assert "Inputs of the plan: word , size" in words(
        client.get("/webhooks/new?plan=lab-plan")
    )
    wrong = client.post("/webhooks/new", sent | {"mapping": "word: data"})
    assert (wrong.status_code, "Invalid JSON Pointer" in wrong.content.decode()) == (
        422,
        True,
    )
    page = client.post("/webhooks/new", sent).content.decode()
    row = Hook.objects.get()
    assert "whsec_" in page
    assert f"http://testserver/hooks/{row.pk}" in page
    assert "whsec_" not in client.get(f"/webhooks/{row.pk}").content.decode()
    assert "whsec_" in _rotated(client, row)
    send(row, "whsec_AAAA")
    shown = client.get(f"/webhooks/{row.pk}").content.decode()
    assert "hook.signature_invalid" in shown
    assert "Orders" in client.get("/webhooks").content.decode()
    assert (
        "hook-rotate"
        not in signed_in(operator).get(f"/webhooks/{row.pk}").content.decode()
    )
    client.post(f"/webhooks/{row.pk}/pause")
    client.post(f"/webhooks/{row.pk}/resume")
    client.post(f"/webhooks/{row.pk}/delete")
    assert client.get(f"/webhooks/{row.pk}").status_code == 404
    assert kinds(row)[-3:] == ["hook.paused", "hook.resumed", "hook.deleted"]


def _rotated(client: Client, row: Hook) -> str:
    sent = {"version": row.version}
    return client.post(f"/webhooks/{row.pk}/rotate", sent).content.decode()


def test_the_page_lists_deliveries_with_their_reason(hook, proposer) -> None:
    row, secret = hook
    send(row, secret)
    send(row, secret, {})

    page = signed_in(proposer).get(f"/webhooks/{row.pk}").content.decode()

    assert page.count('data-testid="delivery"') == 2
    assert 'data-code="plan.invalid"' in page
    run = f"/runs/{Run.objects.get().pk}"
    assert run in page
    of_run = signed_in(proposer).get(f"{run}?view=plan").content.decode()
    assert f'href="/webhooks/{row.pk}" data-testid="run-origin"' in of_run
