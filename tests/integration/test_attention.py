"""What needs a person: found in the rows, shown to those who may see it, and owned."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

from audit import selectors as audit
from execfabric.identity import services as accounts
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from orchestration.runs.control import attention, control
from orchestration.runs.domain.attention import WORDS, AttentionKind
from orchestration.runs.errors import (
    AttentionTaken,
    AttentionUnknown,
    NotControllable,
)
from orchestration.runs.models import AttentionClaim, Run, StepRun, SweepFailure
from orchestration.trace.services import streams
from tests.api_builders import Caller, person, token_of
from tests.builders import approved, driven, plan, proposed, step
from tests.console_builders import codes, rows, signed_in, words
from tests.integration.cli_builders import Shell
from tests.web.run_builders import FAILING, TWO_STEPS

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

UNKNOWN = plan(step("send", "once", params={"how": "unknown"}))
LATER = timedelta(minutes=5)


def kinds(by: User, *, later: timedelta = timedelta()) -> list[str]:
    return [item.kind for item in attention.queue(by.actor(), at=clock.now() + later)]


def only_item(by: User):
    [item] = attention.queue(by.actor(), at=clock.now())
    return item


@pytest.fixture
def failed(proposer, operator, worker) -> Run:
    return driven(approved(FAILING, proposer, operator), worker)


def changed_error(run: Run, code: str) -> None:
    """Give the failed step of a run another error, as the engine records it."""
    error = {"code": code, "message": "It failed.", "ran": False}
    StepRun.objects.filter(run=run).update(error=error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("lab.refused", "failed"),
        ("step.attempts_exhausted", "poison"),
        ("input.expired", "input_expired"),
    ],
)
def test_a_failed_step_of_a_paused_run_needs_a_person(failed, operator, code, kind):
    changed_error(failed, code)

    item = only_item(operator)

    assert item.kind == kind
    assert item.step == "only"
    assert item.run_id == failed.pk
    assert item.since == failed.steps.get().finished_at


def test_a_failed_step_of_a_run_that_goes_on_needs_no_one(proposer, operator, worker):
    text = plan(step("only", "misbehave", params={"how": "fail"}), onFailure="abort")
    driven(approved(text, proposer, operator), worker)

    assert kinds(operator) == []


def test_an_unknown_outcome_needs_a_person(proposer, operator, worker):
    run = driven(approved(UNKNOWN, proposer, operator), worker)

    item = only_item(operator)

    assert (item.kind, item.run_id) == ("outcome", run.pk)
    assert item.since is not None


def test_a_failed_item_is_named_and_not_its_list(proposer, operator, worker):
    text = plan(step("each", "misbehave", forEach=["ok"], params={"how": "fail"}))
    driven(approved(text, proposer, operator), worker)

    assert only_item(operator).step == "each [0]"


def test_late_runs_and_steps_need_a_person_until_they_end(proposer, operator):
    run = approved(TWO_STEPS, proposer, operator)
    past = clock.now() - LATER
    late = {"due_at": past, "breached_at": past + timedelta(seconds=1)}
    Run.objects.filter(pk=run.pk).update(**late)
    run.steps.filter(key="first").update(**late)

    assert kinds(operator) == ["late", "late"]


def test_a_run_that_the_keeper_cannot_change_needs_a_person(proposer, operator):
    run = approved(TWO_STEPS, proposer, operator)
    failure = {"duty": "leases", "retry_at": clock.now()}
    SweepFailure.objects.create(subject=run.pk, failures=2, **failure)
    assert kinds(operator) == []

    SweepFailure.objects.update(failures=F("failures") + 1)

    assert kinds(operator) == ["sweep"]


def test_an_approval_that_no_one_can_give_needs_a_person(proposer, operator):
    proposed(TWO_STEPS, proposer)
    admin = person("admin", Role.ADMIN)
    assert kinds(admin) == []

    User.objects.filter(pk=operator.pk).update(is_active=False)

    assert kinds(admin) == ["gate"]
    assert "“operator”" in only_item(admin).text


def test_a_ready_step_without_a_worker_needs_a_person_after_a_minute(
    proposer, operator
):
    approved(TWO_STEPS, proposer, operator)

    assert kinds(operator, later=timedelta(seconds=50)) == []
    assert kinds(operator, later=timedelta(seconds=70)) == ["no_worker"]


def test_everyone_sees_only_the_items_of_runs_that_they_may_see(
    failed, proposer, operator, stranger
):
    agent, _ = accounts.create_agent(
        name="planner", owner="proposer", by=system("test"), at=clock.now()
    )

    assert kinds(proposer) == kinds(operator) == ["failed"]
    assert kinds(stranger) == []
    assert attention.queue(agent.actor(), at=clock.now()) == []


def test_someone_takes_an_item_once_and_others_know(failed, proposer, operator):
    key, at = only_item(operator).key, clock.now()
    attention.take(key=key, by=operator.actor(), at=at)
    again = attention.take(key=key, by=operator.actor(), at=at + LATER)

    with pytest.raises(AttentionTaken, match="operator takes care of it"):
        attention.take(key=key, by=proposer.actor(), at=at)
    seen = only_item(proposer)

    assert seen.owner is not None
    assert (seen.owner.name, seen.owner.since) == ("operator", at)
    assert again.owner == seen.owner
    kinds_of_events = [event.kind for event in audit.events_after(failed.stream, 0)]
    assert kinds_of_events.count("attention.taken") == 1
    assert streams.verify_stream(failed.stream).whole


def test_an_item_that_is_released_can_be_taken_by_another(failed, proposer, operator):
    key, at = only_item(operator).key, clock.now()
    attention.take(key=key, by=operator.actor(), at=at)
    attention.release(key=key, by=proposer.actor(), at=at)
    attention.release(key=key, by=proposer.actor(), at=at)

    item = attention.take(key=key, by=proposer.actor(), at=at)

    assert item.owner is not None
    assert item.owner.name == "proposer"
    found = [event.kind for event in audit.events_after(failed.stream, 0)]
    assert found.count("attention.released") == 1


def test_a_retried_step_that_fails_again_is_a_new_item(failed, operator):
    key = only_item(operator).key
    attention.take(key=key, by=operator.actor(), at=clock.now())
    failed.steps.update(generation=F("generation") + 1)

    assert only_item(operator).owner is None
    with pytest.raises(AttentionUnknown):
        attention.take(key=key, by=operator.actor(), at=clock.now())


def test_only_those_who_may_act_on_the_run_take_an_item(failed, stranger):
    auditor = person("auditor", Role.AUDITOR)
    key, at = only_item(auditor).key, clock.now()

    with pytest.raises(NotControllable):
        attention.take(key=key, by=auditor.actor(), at=at)
    with pytest.raises(AttentionUnknown):
        attention.take(key=key, by=stranger.actor(), at=at)

    assert not AttentionClaim.objects.exists()


def test_a_worker_that_has_the_run_cached_goes_on_after_an_item_is_taken(
    proposer, operator, worker
):
    text = plan(
        step("a", "misbehave", params={"how": "fail"}), step("b"), onFailure="pause"
    )
    run = driven(approved(text, proposer, operator), worker)
    attention.take(key=only_item(operator).key, by=operator.actor(), at=clock.now())

    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert run.state == "paused"
    assert streams.verify_stream(run.stream).whole


def test_the_queue_needs_the_same_queries_for_any_number_of_items(
    proposer, operator, worker, django_assert_max_num_queries
):
    for _ in range(4):
        driven(approved(FAILING, proposer, operator), worker)
        driven(approved(UNKNOWN, proposer, operator), worker)
        proposed(TWO_STEPS, proposer)

    with django_assert_max_num_queries(14):
        found = attention.queue(operator.actor(), at=clock.now())
    assert len(found) == 8


def test_the_page_lists_items_with_their_next_action_and_owner(
    failed, proposer, operator, worker
):
    unknown = driven(approved(UNKNOWN, proposer, operator), worker)
    client = signed_in(operator)
    page = client.get("/attention")

    assert rows(page, "attention-item") == 2
    assert "2 items need attention" in words(page)
    text = page.content.decode()
    assert f'href="/runs/{failed.pk}/steps/only"' in text
    assert f'href="/runs/{unknown.pk}/steps/send/resolve"' in text
    assert rows(client.get("/attention", {"kind": "outcome"}), "attention-item") == 1
    assert rows(client.get("/attention", {"mine": ""}), "attention-item") == 0

    key = next(
        item.key
        for item in attention.queue(operator.actor(), at=clock.now())
        if item.kind == "failed"
    )
    taken = client.post("/attention/take", {"key": key}, follow=True)
    assert "You take care of it" in words(taken)
    assert rows(client.get("/attention", {"mine": ""}), "attention-item") == 1
    assert "operator takes care of it" in words(signed_in(proposer).get("/attention"))
    lost = signed_in(proposer).post("/attention/take", {"key": key})
    assert (lost.status_code, codes(lost)) == (409, ["attention.taken"])
    released = client.post("/attention/release", {"key": key}, follow=True)
    assert "No one takes care of it" in words(released)


def test_navigation_and_home_have_the_count(failed, operator, stranger):
    fetched = {"HX-Request": "true"}
    client = signed_in(operator)

    count = client.get("/attention/count", headers=fetched)
    home = client.get("/attention", {"part": "home"}, headers=fetched)

    assert "1" in words(count)
    assert 'hx-get="/attention/count"' in client.get("/runs").content.decode()
    assert "part=home" in client.get("/").content.decode()
    assert rows(home, "attention-item") == 1
    assert words(signed_in(stranger).get("/attention/count", headers=fetched)) == ""


def test_the_page_is_sent_again_only_after_a_change(failed, operator):
    client, fetched = signed_in(operator), {"HX-Request": "true"}
    text = client.get("/attention").content.decode()
    seen = text.partition("seen=")[2].partition('"')[0]

    same = client.get("/attention", {"seen": seen}, headers=fetched)
    attention.take(key=only_item(operator).key, by=operator.actor(), at=clock.now())
    other = client.get("/attention", {"seen": seen}, headers=fetched)

    assert (same.status_code, other.status_code) == (204, 200)


def test_the_api_lists_takes_and_releases(failed, operator):
    api = Caller(token_of(operator))
    [item] = api.get("attention").json()["items"]

    assert (item["kind"], item["run_id"]) == ("failed", str(failed.pk))
    assert item["action"] == WORDS[AttentionKind.FAILED].action
    assert item["url"].endswith(f"/runs/{failed.pk}/steps/only")
    assert item["owner"] is None
    taken = api.post(f"attention/{item['key']}:take").json()
    assert taken["owner"]["name"] == "operator"
    assert api.post(f"attention/{item['key']}:release").json()["owner"] is None
    assert api.get("attention", kind="late").json()["items"] == []
    assert api.get("attention", kind="luck").status_code == 422
    assert api.post("attention/nothing:take").status_code == 422


def test_the_command_lists_and_takes(
    failed, operator, live_server: Any, tmp_path: Path
):
    shell = Shell(live_server.url, tmp_path, {"operator": token_of(operator)})

    [item] = shell.json("operator", "attention")
    taken = shell.json("operator", "attention", "take", item["key"])

    assert item["title"] == "Failed step"
    assert taken["owner"]["name"] == "operator"


def test_every_kind_has_words():
    assert set(WORDS) == set(AttentionKind)
