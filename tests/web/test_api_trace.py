"""The record by API: search, and finding one changed byte."""

from uuid import UUID

import pytest

from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.trace.services import jobs
from tests.api_builders import a_run, caller, registry, tamper

pytestmark = pytest.mark.django_db


def test_an_untouched_record_verifies_for_its_proposer() -> None:
    registry()
    proposer = caller("proposer", Role.PROPOSER)
    run = a_run(proposer)

    found = proposer.get(f"runs/{run}/trace:verify").json()

    events = proposer.get(f"runs/{run}/events").json()["items"]
    assert found["stream"] == f"run:{run}"
    assert (found["verified"], found["broken"]) == (True, None)
    assert found["events"] == len(events)
    assert found["head"] == events[-1]["hash"]


def test_one_changed_byte_is_found_and_named() -> None:
    registry()
    run = a_run(caller("proposer", Role.PROPOSER))
    auditor = caller("auditor", Role.AUDITOR)
    tamper(run, 2)

    of_run = auditor.get(f"runs/{run}/trace:verify").json()
    job = auditor.post("trace:verify", {})
    jobs.work(job_id=UUID(job.json()["id"]), at=clock.now())
    of_all = auditor.get(f"trace/verifications/{job.json()['id']}").json()

    assert of_run["verified"] is False
    assert of_run["broken"]["seq"] == 2
    assert of_run["broken"]["expected"] != of_run["broken"]["found"]
    assert job.status_code == 202
    assert (of_all["state"], of_all["verified"]) == ("finished", False)
    assert of_all["done"] == of_all["total"] > 1
    [found] = of_all["findings"]
    assert (found["stream"], found["seq"]) == (f"run:{run}", 2)


def test_the_record_is_searched_newest_first_by_cursor() -> None:
    registry()
    run = a_run(caller("proposer", Role.PROPOSER))
    auditor = caller("auditor", Role.AUDITOR)

    every = auditor.get("trace", stream=f"run:{run}").json()["items"]
    page = auditor.get("trace", stream=f"run:{run}", limit=1).json()
    rest = auditor.get("trace", stream=f"run:{run}", before=page["next"]).json()
    proposed = auditor.get("trace", kind="run.proposed", actor="propos").json()

    assert [event["seq"] for event in every] == list(range(len(every), 0, -1))
    assert page["items"] + rest["items"] == every
    assert [event["stream"] for event in proposed["items"]] == [f"run:{run}"]


@pytest.mark.parametrize(
    "path", ["trace", "trace/verify?stream=registry", "trace?limit=0"]
)
def test_the_whole_record_is_not_for_proposers(path) -> None:
    answer = caller("proposer", Role.PROPOSER).get(path)

    assert (answer.status_code, answer.json()["code"]) == (403, "auth.right_missing")
