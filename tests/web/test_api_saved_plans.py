"""Saved plans by API: save, list, show, start, compare, rights."""

import json

import pytest

from execfabric.lib.rights import Role
from tests.api_builders import PLAN, Caller, agent, caller, person, registry, token_of

pytestmark = pytest.mark.django_db

CHANGED = PLAN.replace("id: second", "id: third")


@pytest.fixture
def proposer() -> Caller:
    registry()
    return caller("proposer", Role.PROPOSER)


@pytest.fixture
def other(proposer) -> Caller:
    return caller("other", Role.PROPOSER)


def test_a_plan_is_saved_listed_shown_and_started(proposer) -> None:
    saved = proposer.post("plans", {"plan": PLAN})
    again = proposer.post("plans", {"plan": PLAN})

    assert (saved.status_code, again.json()) == (201, saved.json())
    assert set(saved.json()) == {"id", "revision", "digest", "url"}
    [row] = proposer.get("plans", q="VALUE").json()["items"]
    assert (row["id"], row["name"], row["revision"]) == (
        "hand-on",
        "Hand a value on",
        1,
    )
    assert row["owner_name"] == "proposer"
    assert row["url"].endswith("/plans/hand-on")
    shown = proposer.get("plans/hand-on").json()
    assert shown["source"] == PLAN
    assert shown["inputs"]["required"] == ["word"]
    assert [each["revision"] for each in shown["revisions"]] == [1]
    made = proposer.post("plans/hand-on/runs", {"inputs": {"word": "x"}})
    assert made.status_code == 201
    run = proposer.get(f"runs/{made.json()['run_id']}").json()
    assert (run["plan"], run["revision"], run["inputs"]) == (
        "hand-on",
        1,
        {"word": "x"},
    )


def test_a_plan_as_an_object_is_saved_as_its_json(proposer) -> None:
    plan = {"id": "one", "steps": [{"id": "a", "skill": "noop", "action": "pass"}]}

    proposer.post("plans", {"plan": {"plan": plan}})

    assert json.loads(proposer.get("plans/one").json()["source"]) == {"plan": plan}


def test_an_agent_saves_and_starts_for_its_owner(proposer) -> None:
    owner = person("owner", Role.PROPOSER)
    bot = agent("bot", owner)

    bot.post("plans", {"plan": PLAN})

    assert bot.get("plans/hand-on").json()["owner_name"] == "owner"
    again = Caller(token_of(owner)).post("plans", {"plan": CHANGED})
    assert again.json()["revision"] == 2
    started = bot.post("plans/hand-on/runs", {"inputs": {"word": "x"}, "revision": 1})
    assert started.status_code == 201
    granted = bot.post("plans/hand-on:grant", {"right": "view", "user": "somebody"})
    assert (granted.status_code, granted.json()["code"]) == (
        403,
        "auth.agents_cannot_decide",
    )


def test_what_may_not_be_done_has_a_status_and_a_code(proposer, other) -> None:
    proposer.post("plans", {"plan": PLAN})

    def refused(answer, status: int, code: str) -> None:
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    refused(other.get("plans/hand-on"), 404, "plan.unknown")
    refused(other.get("plans/hand-on/diff/1/1"), 404, "plan.unknown")
    refused(other.post("plans/hand-on/runs", {}), 404, "plan.unknown")
    refused(other.post("plans", {"plan": CHANGED}), 422, "plan.id_taken")
    body = {"plan": CHANGED, "inputs": {"word": "x"}}
    refused(other.post("runs", body), 422, "plan.id_taken")
    refused(other.post("plans:dry-run", body), 422, "plan.id_taken")
    refused(proposer.get("plans/hand-on", revision=7), 404, "plan.revision_unknown")
    refused(proposer.post("plans/hand-on/runs", {}), 422, "plan.invalid")
    refused(proposer.post("plans", {"plan": "plan: ["}), 422, "plan.invalid")
    assert other.get("plans").json() == {"items": [], "next": None}


def test_validation_names_a_taken_id_at_its_line(proposer, other) -> None:
    proposer.post("plans", {"plan": PLAN})

    [problem] = other.post("plans:validate", {"plan": CHANGED}).json()["problems"]

    assert (problem["code"], problem["line"]) == ("plan.id_taken", 2)
    assert "belongs to proposer" in problem["message"]


def test_rights_are_given_and_taken_back(proposer, other) -> None:
    proposer.post("plans", {"plan": PLAN})
    right = {"right": "start", "user": "other"}

    given = proposer.post("plans/hand-on:grant", right).json()

    assert given == [{"right": "start", "kind": "user", "name": "other"}]
    body = {"inputs": {"word": "x"}}
    assert other.post("plans/hand-on/runs", body).status_code == 201
    assert other.get("plans/hand-on").json()["rights"] == given
    assert other.post("plans/hand-on:revoke", right).status_code == 403
    assert proposer.post("plans/hand-on:revoke", right).json() == []
    assert other.post("plans/hand-on/runs", body).status_code == 404
    wrong = proposer.post("plans/hand-on:grant", {"right": "own", "user": "other"})
    assert wrong.json()["code"] == "request.invalid"
    both = proposer.post("plans/hand-on:grant", {"right": "edit"})
    assert both.json()["code"] == "plan.grant_invalid"


def test_two_revisions_are_compared(proposer) -> None:
    proposer.post("plans", {"plan": PLAN})
    proposer.post("plans", {"plan": CHANGED})

    found = proposer.get("plans/hand-on/diff/1/2").json()

    changes = [(each["step"], each["change"]) for each in found["steps"]]
    assert changes == [("third", "added"), ("second", "removed")]
    assert found["steps"][0]["approval"]["after"].endswith("Somebody should look at it")
    assert found["plan"] == []


def test_plans_are_listed_in_pages(proposer) -> None:
    for number in range(3):
        proposer.post("plans", {"plan": PLAN.replace("hand-on", f"plan-{number}")})

    first = proposer.get("plans", limit=2).json()
    rest = proposer.get("plans", limit=2, after=first["next"]).json()

    assert [each["id"] for each in first["items"]] == ["plan-0", "plan-1"]
    assert [each["id"] for each in rest["items"]] == ["plan-2"]
    assert rest["next"] is None
    assert proposer.get("plans", q="a\0b").status_code < 500


def test_a_repeated_start_returns_the_same_run(proposer) -> None:
    proposer.post("plans", {"plan": PLAN})
    body, key = {"inputs": {"word": "x"}}, {"Idempotency-Key": "k"}

    runs = [proposer.post("plans/hand-on/runs", body, **key).json() for _ in range(2)]

    assert runs[0]["run_id"] == runs[1]["run_id"]
