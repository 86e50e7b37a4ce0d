"""Stops on the pages, in the API and on the command line."""

from http import HTTPStatus

import pytest

from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.runs.control import stops
from orchestration.runs.models import Stop
from tests.api_builders import Caller, caller, token_of
from tests.builders import approved, chain, claimed, completed, proposed
from tests.console_builders import codes, rows, signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]
PAGES = ("/", "/runs", "/stops", "/skills", "/artifacts", "/help/", "/no-such-page")


@pytest.fixture
def stop(operator) -> Stop:
    return stops.stop(
        skill="",
        reason="The <b>target</b> is down.",
        cancel=False,
        by=operator.actor(),
        at=clock.now(),
    )


@pytest.mark.parametrize("path", PAGES)
def test_every_page_shows_the_stop(path, stop, proposer):
    browser = signed_in(proposer)
    page = browser.get(path)

    assert rows(page, "stop-banner") == 1
    assert "The <b>target</b> is down." in words(page)


def test_no_page_shows_a_stop_that_was_lifted(stop, operator):
    browser = signed_in(operator)
    browser.post(f"/stops/{stop.pk}/lift", {"reason": "It is up."})

    page = browser.get("/stops")
    stop.refresh_from_db()
    assert not stop.is_active
    assert (rows(page, "stop-banner"), rows(page, "past-stop")) == (0, 1)
    assert "It is up." in words(page)


def test_a_stop_is_set_on_its_page(operator):
    browser = signed_in(operator)
    sent = {"skill": "lab", "reason": "Down.", "cancel": "yes"}
    page = browser.post("/stops/set", sent, follow=True)

    stop = Stop.objects.get()
    assert (stop.skill, stop.reason, stop.cancels) == ("lab", "Down.", True)
    assert rows(page, "active-stop") == 1
    assert "The skill lab is stopped: Down." in words(page)


def test_who_may_not_stop_sees_the_stops_and_no_form(stop, stranger):
    browser = signed_in(stranger)
    page = browser.get("/stops")
    refused = browser.post("/stops/set", {"reason": "x"})
    lifted = browser.post(f"/stops/{stop.pk}/lift", {"reason": "x"})

    assert (rows(page, "active-stop"), rows(page, "stop-form")) == (1, 0)
    assert codes(refused) == codes(lifted) == ["auth.right_missing"]
    assert Stop.objects.get().is_active


def test_a_stop_without_a_reason_is_refused(operator):
    refused = signed_in(operator).post("/stops/set", {"reason": " "})

    assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert codes(refused) == ["stop.reason_required"]
    assert not Stop.objects.exists()


def test_a_run_says_what_holds_it(proposer, operator, stop):
    run = approved(chain(1), proposer, operator)
    page = signed_in(operator).get(f"/runs/{run.pk}")

    assert "All steps are stopped, so none starts." in words(page)


def test_a_run_names_the_stop_of_a_skill_and_of_no_other(proposer, operator):
    run = approved(chain(1), proposer, operator)
    made = [
        stops.stop(
            skill=skill,
            reason="Down.",
            cancel=False,
            by=operator.actor(),
            at=clock.now(),
        )
        for skill in ("lab", "http")
    ]
    page = signed_in(operator).get(f"/runs/{run.pk}")
    shown = Caller(token_of(operator)).get(f"runs/{run.pk}").json()["stops"]

    assert "The skill lab is stopped, so its steps do not start." in words(page)
    assert "The skill http is stopped, so" not in words(page)
    assert shown == [{"id": str(made[0].pk), "skill": "lab", "reason": "Down."}]


def test_a_run_without_a_ready_step_is_not_held(proposer, operator, stop):
    run = proposed(chain(1), proposer)

    assert Caller(token_of(operator)).get(f"runs/{run.pk}").json()["stops"] == []


def test_who_stops_sees_what_still_runs(proposer, operator):
    run = approved(chain(2), proposer, operator)
    lease = claimed(run, "s0")
    browser, by = signed_in(operator), Caller(token_of(operator))
    page = browser.post("/stops/set", {"skill": "lab", "reason": "Down."}, follow=True)
    other = by.post("stops", {"skill": "http", "reason": "Down."}).json()
    first = by.get("stops", active=True).json()["items"][1]

    assert "1 of them still runs." in words(page)
    assert "1 step still runs" in words(page)
    assert (first["running"], other["running"]) == (1, 0)
    completed(lease)
    assert by.get("stops", active=True).json()["items"][1]["running"] == 0
    assert "None of these steps runs any more" in words(browser.get("/stops"))


def test_the_api_stops_lists_and_lifts(operator):
    by = Caller(token_of(operator))
    made = by.post("stops", {"skill": "lab", "reason": "Down.", "cancel": True})
    pk = made.json()["id"]
    active = by.get("stops", active=True).json()["items"]
    lifted = by.post(f"stops/{pk}:lift", {"reason": "Up."})
    again = by.post(f"stops/{pk}:lift", {"reason": "Up."})
    listed = by.get("stops").json()["items"]

    assert made.status_code == HTTPStatus.CREATED
    assert [one["id"] for one in active] == [pk]
    assert made.json() | {"is_active": True, "cancel": True} == made.json()
    assert (lifted.json()["is_active"], lifted.json()["lift_reason"]) == (False, "Up.")
    assert again.json()["code"] == "stop.lifted"
    assert [one["lifted_by_name"] for one in listed] == [operator.username]
    assert by.get("stops", active=True).json()["items"] == []


def test_the_api_refuses_who_may_not_stop(stop):
    by = caller("someone", Role.PROPOSER)

    assert by.get("stops").json()["items"][0]["id"] == str(stop.pk)
    assert by.post("stops", {"reason": "x"}).json()["code"] == "auth.right_missing"
    lifted = by.post(f"stops/{stop.pk}:lift", {"reason": "x"})
    assert lifted.json()["code"] == "auth.right_missing"
