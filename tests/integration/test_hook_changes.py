"""Changes of a webhook: by its owner only, with the same address and secret."""

import pytest

from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans.domain import source
from orchestration.plans.services import saving
from orchestration.runs.models import Run
from orchestration.triggers.errors import (
    HookChanged,
    HookUnknown,
    MappingInvalid,
    TriggerNotManaged,
)
from orchestration.triggers.forms import initial_of_hook
from orchestration.triggers.models import Hook
from orchestration.triggers.services import hooks
from orchestration.triggers.services.hooks import HookSettings
from tests.api_builders import Caller, token_of
from tests.builders import may_start
from tests.console_builders import signed_in, words
from tests.integration.hook_builders import TEXT, made, send
from tests.record import is_whole, kinds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]
NEW = HookSettings("New orders", {"word": "/word"}, {"size": 5}, 1)


@pytest.fixture
def hook(proposer: User) -> tuple[Hook, str]:
    saving.save_plan(text=TEXT, by=proposer.actor(), at=clock.now())
    return made(proposer)


def changed(row: Hook, by: User, settings: HookSettings = NEW, **options) -> Hook:
    return hooks.change(
        hook_id=row.pk, settings=settings, by=by.actor(), at=clock.now(), **options
    )


def test_its_owner_changes_a_webhook_and_the_secret_stays_valid(hook, proposer) -> None:
    row, secret = hook

    after = changed(row, proposer, version=row.version)

    assert (after.name, after.revision) == ("New orders", 1)
    assert send(row, secret, {"word": "later"}).status_code == 202
    assert Run.objects.get().inputs == {"word": "later", "size": 5}
    assert kinds(row) == ["hook.created", "hook.changed", "hook.delivered"]
    assert is_whole(row)
    with pytest.raises(HookChanged):
        changed(row, proposer, version=row.version)


def test_no_one_else_changes_it_because_its_runs_are_in_the_name_of_its_owner(
    hook, admin, operator, second_operator, proposer
) -> None:
    row, _ = hook
    for other in (admin, operator):
        may_start(other)
        with pytest.raises(TriggerNotManaged, match="Only the owner"):
            changed(row, other)
    assert signed_in(admin).get(f"/webhooks/{row.pk}/edit").status_code == 403
    assert "Edit" not in words(signed_in(admin).get(f"/webhooks/{row.pk}"))
    with pytest.raises(MappingInvalid):
        changed(row, proposer, HookSettings("Orders", {"other": "/x"}))
    hooks.delete(hook_id=row.pk, by=proposer.actor(), at=clock.now())
    with pytest.raises(HookUnknown):
        changed(row, proposer)
    assert kinds(row) == ["hook.created", "hook.deleted"]


def test_the_page_shows_what_is_stored_and_saves_it_unchanged(hook, proposer) -> None:
    row, _ = hook
    row = changed(row, proposer, HookSettings("A", {"word": "/a~1b"}, {"size": 5}))
    browser, address = signed_in(proposer), f"/webhooks/{row.pk}/edit"
    form = browser.get(address).context["form"]
    sent = {field.name: field.value() or "" for field in form}

    saved = browser.post(address, sent, follow=True)
    again = browser.post(address, sent)
    unknown = browser.post(address, sent | {"version": ""})
    wrong = browser.post(address, sent | {"mapping": "word: nowhere"})
    broken = browser.post(address, sent | {"mapping": "["})

    assert "The webhook A was saved." in words(saved)
    assert "Edit" in words(saved)
    row.refresh_from_db()
    assert (row.mapping, row.inputs) == ({"word": "/a~1b"}, {"size": 5})
    for refused in (again, unknown):
        assert refused.context["refusal"].code == "hook.changed"
    assert wrong.context["refusal"].code == "hook.mapping_invalid"
    assert "nowhere" in wrong.content.decode()
    assert broken.status_code == 422


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(1e20, "a number that is too large", id="becomes an integer"),
        pytest.param({"$secret": "key"}, "A secret cannot be an input", id="secret"),
        pytest.param({"$file": "0" * 64}, "A file cannot be written", id="file"),
        pytest.param("x" * (256 << 10), "The inputs are too large", id="large"),
    ],
)
def test_inputs_that_no_run_can_have_are_refused(hook, proposer, value, reason) -> None:
    row, _ = hook
    chosen = HookSettings("A", {"word": "/word"}, {"size": value})

    with pytest.raises(MappingInvalid, match=reason):
        changed(row, proposer, chosen)

    assert kinds(row) == ["hook.created"]
    assert is_whole(row)


def test_the_page_saves_inputs_as_large_as_the_service_allows(hook, proposer) -> None:
    row, _ = hook
    settings = HookSettings(
        "A", {"size": "/size"}, {"word": {"b": {"c": [1] * 120_000}}}
    )
    row = changed(row, proposer, settings)
    browser, address = signed_in(proposer), f"/webhooks/{row.pk}/edit"
    form = browser.get(address).context["form"]
    sent = {field.name: field.value() or "" for field in form}

    saved = browser.post(address, sent | {"name": "B"}, follow=True)

    assert "The webhook B was saved." in words(saved)
    row.refresh_from_db()
    assert row.inputs == settings.inputs


def test_what_is_stored_is_written_so_that_it_reads_the_same() -> None:
    names = ["a", "null", "true", "No", "1", "a b", "ä", '"', "-", "~", "x: y", "#"]
    mapping = {name: f"/{name}" for name in names} | {"whole": ""}
    row = Hook(name="A", mapping=mapping, inputs={"n": "1e3", "d": None, "l": [1.5]})

    typed = initial_of_hook(row)

    assert source.parse(typed["mapping"]).value == mapping
    assert source.parse(typed["inputs"]).value == row.inputs


def test_the_api_replaces_the_settings(hook, proposer, operator) -> None:
    row, _ = hook
    body = {"name": "B", "mapping": {"word": "/b"}}
    path = f"hooks/{row.pk}:change"

    answer = Caller(token_of(proposer)).post(path, body)
    denied = Caller(token_of(operator)).post(path, body)

    version = answer.json()["version"]
    current = Caller(token_of(proposer)).post(path, body | {"version": version})
    earlier = Caller(token_of(proposer)).post(path, body | {"version": version})

    assert (answer.json()["name"], answer.json()["mapping"]) == ("B", {"word": "/b"})
    assert (current.status_code, current.json()["version"]) == (200, version + 1)
    assert (earlier.status_code, earlier.json()["code"]) == (409, "hook.changed")
    assert denied.json()["code"] == "trigger.not_managed"
