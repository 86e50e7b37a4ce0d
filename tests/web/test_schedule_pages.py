"""The pages of schedules: list, form with its preview, one schedule, home."""

import pytest
from django.contrib.auth.models import Group

from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.services import rights, saving
from orchestration.triggers.models import Schedule
from orchestration.triggers.services import firing, schedules
from orchestration.triggers.services.schedules import ScheduleSettings
from tests.builders import may_start
from tests.console_builders import PLAN, codes, rows, signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

SENT = {
    "plan": "hand-on",
    "name": "Every morning",
    "cron": "30 6 * * MON-FRI",
    "tz": "Europe/Berlin",
    "revision": "",
    "catch_up": "one",
    "overlap": "skip",
    "input.word": "hello",
    "kind.word": "string",
}


@pytest.fixture
def saved(proposer: User) -> None:
    saving.save_plan(text=PLAN, by=proposer.actor(), at=clock.now())


@pytest.fixture
def schedule(saved: None, proposer: User) -> Schedule:
    chosen = ScheduleSettings(name="Hourly", cron="0 * * * *", inputs={"word": "x"})
    return schedules.create(
        slug="hand-on", settings=chosen, by=proposer.actor(), at=clock.now()
    )


def test_a_schedule_is_created_from_the_page_of_its_plan(saved, proposer) -> None:
    client = signed_in(proposer)

    assert "/schedules?plan=hand-on" in client.get("/plans/hand-on").content.decode()
    listed = client.get("/schedules?plan=hand-on")
    assert "/schedules/new?plan=hand-on" in listed.content.decode()
    assert rows(client.get("/schedules/new"), "choose-plan") == 1
    form = client.get("/schedules/new?plan=hand-on")
    assert 'name="input.word"' in form.content.decode()
    done = client.post("/schedules/new", SENT)

    row = Schedule.objects.get()
    assert done.headers["Location"] == f"/schedules/{row.pk}"
    assert (row.zone, row.inputs, row.revision) == (
        "Europe/Berlin",
        {"word": "hello"},
        None,
    )
    shown = client.get(f"/schedules/{row.pk}")
    assert "Every morning" in words(shown)
    assert rows(shown, "next-firing") == 5
    assert rows(client.get("/schedules"), "schedule-row") == 1


def test_the_next_five_firings_are_shown_before_saving(saved, proposer) -> None:
    client = signed_in(proposer)

    fragment = client.get("/schedules/next?cron=30+6+*+*+*&tz=Europe/Berlin")
    without_script = client.post("/schedules/new", SENT | {"act": "preview"})
    empty = client.get("/schedules/next?cron=&tz=")

    assert rows(fragment, "next-firing") == 5
    assert "Times in Europe/Berlin." in words(fragment)
    assert "06:30 CE" in words(fragment)
    assert rows(without_script, "next-firing") == 5
    assert without_script.status_code == 200
    assert "Type a cron expression" in words(empty)
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"cron": "61 * * * *"}, 422, "the minute is not valid"),
        ({"tz": "Nowhere/City"}, 422, "Unknown time zone"),
        ({"name": ""}, 422, "This field is required"),
        ({"input.word": ""}, 422, "Missing input"),
        ({"overlap": "wait", "catch_up": "skip"}, 422, "A firing cannot wait"),
    ],
)
def test_a_form_that_is_not_valid_keeps_what_was_typed(
    saved, proposer, changes, status, text
) -> None:
    page = signed_in(proposer).post("/schedules/new", SENT | changes)

    assert page.status_code == status
    assert text in words(page)
    assert 'value="Every morning"' in page.content.decode() or changes == {"name": ""}
    assert not Schedule.objects.exists()


def test_it_is_paused_resumed_edited_and_deleted(schedule, proposer) -> None:
    client, address = signed_in(proposer), f"/schedules/{schedule.pk}"

    assert "was paused" in words(client.post(f"{address}/pause", follow=True))
    assert codes(client.post(f"{address}/pause")) == ["state.illegal_transition"]
    assert "was resumed" in words(client.post(f"{address}/resume", follow=True))
    form = client.get(f"{address}/edit").content.decode()
    assert 'value="0 * * * *"' in form
    assert 'value="x"' in form
    version = Schedule.objects.get().version
    for sent in ({"version": version - 1}, {"version": ""}, {}):
        stale = client.post(f"{address}/edit", SENT | sent)
        assert codes(stale) == ["schedule.changed"]
    client.post(f"{address}/edit", SENT | {"version": version})
    assert Schedule.objects.get().name == "Every morning"
    assert "was deleted" in words(client.post(f"{address}/delete", follow=True))
    assert client.get(address).status_code == 404


def test_others_see_and_do_what_their_role_allows(
    schedule, operator, admin, stranger
) -> None:
    address = f"/schedules/{schedule.pk}"
    shown = signed_in(operator).get(address)
    assert rows(shown, "schedule-pause") == 0
    refused = signed_in(operator).post(f"{address}/pause")
    assert codes(refused) == ["trigger.not_managed"]
    assert rows(signed_in(admin).get(address), "schedule-pause") == 1
    assert signed_in(stranger).get(address).status_code == 404
    assert "No schedules" in words(signed_in(stranger).get("/schedules"))
    may_start(admin, "hand-on")
    form = signed_in(admin).get(f"{address}/edit")
    assert "If you save it, it belongs to you." in words(form)


def test_the_form_needs_the_right_to_manage_and_to_see_the_plan(
    saved, operator, admin, stranger
) -> None:
    stranger.groups.add(Group.objects.get(name=str(Role.PROPOSER)))
    may_start(stranger, "hand-on")
    chosen = ScheduleSettings(name="Hourly", cron="0 * * * *", inputs={"word": "x"})
    row = schedules.create(
        slug="hand-on", settings=chosen, by=stranger.actor(), at=clock.now()
    )
    address = f"/schedules/{row.pk}"
    assert signed_in(stranger).get(f"{address}/edit").status_code == 200

    others = signed_in(operator).get(f"{address}/edit")
    for right in (PlanRight.START, PlanRight.VIEW):
        rights.revoke(
            slug="hand-on",
            right=right,
            user=stranger.get_username(),
            by=system("test"),
            at=clock.now(),
        )
    hidden = [
        signed_in(stranger).get(f"{address}/edit"),
        signed_in(stranger).post(f"{address}/edit", SENT | {"act": "preview"}),
    ]

    assert (others.status_code, codes(others)) == (403, ["trigger.not_managed"])
    assert rows(others, "schedule-form") == 0
    assert [each.status_code for each in hidden] == [404, 404]
    assert rows(signed_in(stranger).get(address), "schedule-edit") == 0
    assert rows(signed_in(admin).get(address), "schedule-edit") == 1


def test_refused_and_skipped_firings_have_their_reason(
    schedule, proposer, operator
) -> None:
    proposer.groups.clear()
    moment = schedule.next_at
    for _ in range(5):
        firing.sweep(moment)
        schedule.refresh_from_db()
        moment = schedule.next_at or moment

    page = signed_in(operator).get(f"/schedules/{schedule.pk}")
    home = signed_in(operator).get("/")

    assert page.content.decode().count('data-outcome="refused"') == 5
    assert 'data-code="auth.right_missing"' in page.content.decode()
    assert "Paused after 5 refused firings in a row." in words(page)
    assert rows(home, "home-schedule") == 1
    assert "5 refused firings in a row" in words(home)


def test_firings_show_their_run_and_their_times_in_the_zone(schedule, proposer) -> None:
    firing.sweep(schedule.next_at)
    schedule.refresh_from_db()
    firing.sweep(schedule.next_at)

    page = signed_in(proposer).get(f"/schedules/{schedule.pk}")

    assert page.content.decode().count("Run proposed") == 1
    run = schedule.firings.get(outcome="proposed").run
    of_run = signed_in(proposer).get(f"/runs/{run.pk}?view=plan").content.decode()
    assert f'href="/schedules/{schedule.pk}" data-testid="run-origin"' in of_run
    assert "The last run of the schedule was still open." in words(page)
    assert ":00 UTC" in words(page)
