"""Validation and dry run by API."""

import json

import pytest

from audit.models import Event
from execfabric.lib.rights import Role
from orchestration.plans.models import Plan
from orchestration.runs.models import Run
from tests.api_builders import PLAN, caller, registry
from tests.builders import end_dry_runs

pytestmark = pytest.mark.django_db

BROKEN = """\
plan:
  id: broken
  name: Broken in several places
  steps:
    - {id: first, skill: nowhere, action: pass}
    - id: second
      skill: noop
      action: pass
      dependsOn: [first]
      params: {value: $third.output}
      colour: red
"""


@pytest.fixture
def proposer():
    registry()
    return caller("proposer", Role.PROPOSER)


@pytest.mark.promise("S1.15")
def test_validation_states_order_digest_and_gates_and_stores_nothing(proposer) -> None:
    events = Event.objects.count()

    found = proposer.post("plans:validate", {"plan": PLAN}).json()

    assert set(found) == {"valid", "digest", "order", "gates", "problems"}
    assert (found["valid"], found["order"]) == (True, ["first", "second"])
    assert len(found["digest"]) == 64
    asked = [(gate["step"], gate["reason"]) for gate in found["gates"]]
    assert [step for step, _ in asked] == [None, "second"]
    assert asked[1][1] == "Somebody should look at it"
    assert not Plan.objects.exists()
    assert not Run.objects.exists()
    assert Event.objects.count() == events


def test_validation_reports_every_problem_with_its_place(proposer) -> None:
    answer = proposer.post("plans:validate", {"plan": BROKEN})

    found = answer.json()
    assert (answer.status_code, found["valid"]) == (200, False)
    places = {(p["step"], p["line"]) for p in found["problems"]}
    assert {line for _, line in places} >= {5, 10, 11}
    for problem in found["problems"]:
        assert problem["code"].count(".") == 1
        assert problem["message"]


def test_a_plan_as_an_object_is_the_same_plan_as_its_text(proposer) -> None:
    as_object = {
        "plan": {
            "id": "one",
            "name": "One",
            "steps": [{"id": "only", "skill": "noop", "action": "pass"}],
        }
    }

    by_object = proposer.post("plans:validate", {"plan": as_object}).json()
    by_text = proposer.post("plans:validate", {"plan": json.dumps(as_object)}).json()

    assert by_object == by_text
    assert by_object["valid"] is True


@pytest.mark.promise("S1.23")
def test_a_dry_run_tells_of_each_step_and_states_its_coverage(proposer) -> None:
    body = {"plan": PLAN, "inputs": {"word": "hello"}}

    answer = proposer.post("plans:dry-run", body)
    queued = answer.json()
    end_dry_runs()
    ended = proposer.get(f"dry-runs/{queued['id']}").json()

    assert (answer.status_code, queued["state"]) == (202, "queued")
    assert (queued["steps"], queued["coverage"]) == ([], None)
    assert (ended["state"], len(ended["steps"])) == ("finished", 2)
    assert (ended["coverage"], ended["would_fail"]) == (100, [])
    assert not Run.objects.exists()


def test_a_dry_run_of_a_broken_plan_tells_its_problems(proposer) -> None:
    answer = proposer.post("plans:dry-run", {"plan": BROKEN, "inputs": {}})

    assert (answer.status_code, answer.json()["code"]) == (422, "plan.invalid")
    assert answer.json()["problems"]


def test_the_dry_run_of_somebody_else_is_unknown(proposer) -> None:
    body = {"plan": PLAN, "inputs": {"word": "hello"}}
    queued = proposer.post("plans:dry-run", body).json()

    answer = caller("other", Role.OPERATOR).get(f"dry-runs/{queued['id']}")

    assert (answer.status_code, answer.json()["code"]) == (404, "dry_run.unknown")


def test_too_many_dry_runs_are_refused_with_429(proposer, settings) -> None:
    settings.DRY_RUNS_PER_ACTOR = 1
    body = {"plan": PLAN, "inputs": {"word": "hello"}}
    proposer.post("plans:dry-run", body)

    answers = [proposer.post(route, body) for route in ("plans:dry-run", "runs")]

    told = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert told == [(429, "dry_run.too_many")] * 2
    assert not Run.objects.exists()


def test_a_run_names_its_dry_run_and_what_would_fail(proposer) -> None:
    body = {"plan": PLAN, "inputs": {"word": "hello"}}
    run = proposer.post("runs", body).json()["run_id"]
    before = proposer.get(f"runs/{run}").json()["dry_run"]
    end_dry_runs()
    after = proposer.get(f"runs/{run}").json()["dry_run"]

    assert (before["state"], before["coverage"]) == ("queued", None)
    assert (after["state"], after["coverage"]) == ("finished", 100)
    assert after["would_fail"] == []
    assert after["run_id"] == run


def test_a_dry_run_tells_of_inputs_that_proposing_would_refuse(proposer) -> None:
    told = proposer.post("plans:dry-run", {"plan": PLAN}).json()
    refused = proposer.post("runs", {"plan": PLAN, "inputs": {}}).json()

    assert [one["code"] for one in told["problems"]] == ["plan.input_invalid"]
    assert told["problems"] == refused["problems"]


def test_an_auditor_may_not_check_plans() -> None:
    answer = caller("auditor", Role.AUDITOR).post("plans:validate", {"plan": PLAN})

    assert answer.status_code == 403
    assert answer.json()["code"] == "auth.right_missing"
