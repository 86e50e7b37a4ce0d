"""Schedules by API: create, list, show, change, pause, resume, delete."""

import pytest

from execfabric.lib.rights import Role
from orchestration.triggers.models import Schedule
from tests.api_builders import PLAN, Caller, agent, caller, person, registry

pytestmark = pytest.mark.django_db

BODY = {
    "plan": "hand-on",
    "name": "Hourly",
    "cron": "0 * * * *",
    "zone": "Europe/Berlin",
    "inputs": {"word": "x"},
}
CHANGED = {name: value for name, value in BODY.items() if name != "plan"}


@pytest.fixture
def proposer() -> Caller:
    registry()
    made = caller("proposer", Role.PROPOSER)
    made.post("plans", {"plan": PLAN})
    return made


def test_a_schedule_is_created_listed_shown_changed_and_deleted(proposer) -> None:
    made = proposer.post("schedules", BODY)
    assert made.status_code == 201
    row = made.json()
    address = f"schedules/{row['id']}"

    [listed] = proposer.get("schedules", plan="hand-on").json()["items"]
    shown = proposer.get(address).json()
    paused = proposer.post(f"{address}:pause", {}).json()
    resumed = proposer.post(f"{address}:resume", {}).json()
    changed = proposer.post(f"{address}:change", CHANGED | {"cron": "5 * * * *"})
    deleted = proposer.post(f"{address}:delete", {}).json()

    assert (listed["id"], listed["plan"]) == (row["id"], "hand-on")
    assert (len(shown["next"]), shown["firings"]) == (5, [])
    assert shown["url"].endswith(f"/schedules/{row['id']}")
    assert (paused["state"], paused["next"]) == ("paused", [])
    assert resumed["state"] == "active"
    assert changed.json()["cron"] == "5 * * * *"
    assert deleted["state"] == "deleted"
    assert proposer.get(address).status_code == 404
    assert proposer.get("schedules").json() == {"items": [], "next": None}


def test_the_next_times_of_an_expression_are_in_its_zone(proposer) -> None:
    found = proposer.get("schedules/next", cron="0 0 1 1 *", zone="Asia/Tokyo").json()

    assert len(found["items"]) == 5
    assert found["items"][0].endswith("-01-01T00:00:00+09:00")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cron": "0 0 0"}, "schedule.cron_invalid"),
        ({"zone": "Mars/Base"}, "schedule.zone_unknown"),
        ({"name": ""}, "trigger.name_invalid"),
        ({"inputs": {}}, "plan.invalid"),
        ({"plan": "nothing"}, "plan.unknown"),
        ({"revision": 9}, "plan.revision_unknown"),
        ({"catch_up": "most"}, "request.invalid"),
        ({"owner": "user:1"}, "request.invalid"),
    ],
)
def test_a_refusal_has_its_code(proposer, changes, code) -> None:
    assert proposer.post("schedules", BODY | changes).json()["code"] == code


def test_agents_and_others_are_refused(proposer) -> None:
    made = proposer.post("schedules", BODY).json()
    bot = agent("bot", person("owner", Role.ADMIN))
    operator = caller("operator", Role.OPERATOR)

    refused = bot.post("schedules", BODY)
    denied = operator.post(f"schedules/{made['id']}:delete", {})

    assert (refused.status_code, refused.json()["code"]) == (
        403,
        "auth.agents_cannot_decide",
    )
    assert denied.json()["code"] == "trigger.not_managed"
    assert len(operator.get("schedules").json()["items"]) == 1
    other = caller("other", Role.PROPOSER)
    assert other.get(f"schedules/{made['id']}").status_code == 404


def test_a_zone_that_is_no_longer_known_leaves_the_schedule_readable(proposer) -> None:
    made = proposer.post("schedules", BODY).json()
    Schedule.objects.update(zone="Gone/Away")

    shown = proposer.get(f"schedules/{made['id']}")

    assert (shown.status_code, shown.json()["next"]) == (200, [])


def test_the_list_has_pages(proposer) -> None:
    ids = [proposer.post("schedules", BODY).json()["id"] for _ in range(3)]

    first = proposer.get("schedules", limit=2).json()
    second = proposer.get("schedules", limit=2, after=first["next"]).json()

    found = [row["id"] for page in (first, second) for row in page["items"]]
    assert found == ids
    assert second["next"] is None
