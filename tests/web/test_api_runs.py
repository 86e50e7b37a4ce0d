"""Proposing, reading and steering runs by API."""

import hashlib
from uuid import UUID

import pytest

from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.runs.engine import artifacts
from orchestration.runs.models import Run
from orchestration.runs.worker.work import WorkerContext, work
from tests.api_builders import PLAN, Caller, a_run, approve, caller, open_gate, registry
from tests.builders import end_dry_runs
from tests.web.run_builders import lost_after_intent

pytestmark = pytest.mark.django_db

STEP_KEYS = {
    "id",
    "item",
    "value",
    "items",
    "plan",
    "revision",
    "session_id",
    "step_run_id",
    "kind",
    "state",
    "attempts",
    "output",
    "files",
    "condition",
    "used_fallback",
    "probe",
    "reused_from",
    "error",
    "concurrency_key",
    "admitted_at",
    "due_at",
    "breached_at",
    "waits_until",
    "started_at",
    "finished_at",
}


@pytest.fixture
def proposer() -> Caller:
    registry()
    return caller("proposer", Role.PROPOSER)


@pytest.fixture
def operator() -> Caller:
    return caller("operator", Role.OPERATOR)


def step_of(by: Caller, run: str, key: str) -> dict:
    steps = by.get(f"runs/{run}").json()["steps"]
    return next(step for step in steps if step["id"] == key)


def work_on(by: Caller, run: str, key: str) -> None:
    worker = WorkerContext(name="test")
    try:
        work(step_run_id=UUID(step_of(by, run, key)["step_run_id"]), context=worker)
    finally:
        worker.close()


def test_a_proposal_makes_a_run_that_waits(proposer) -> None:
    body = {"plan": PLAN, "inputs": {"word": "hello"}}

    answer = proposer.post("runs", body)

    made = answer.json()
    assert answer.status_code == 201
    assert set(made) == {"run_id", "state", "url"}
    assert made["state"] == "awaiting_approval"
    assert made["url"].endswith(f"/runs/{made['run_id']}")
    assert made["url"].startswith("http://")


@pytest.mark.promise("S3.2")
def test_a_plan_is_proposed_as_a_json_object(proposer) -> None:
    passing = {"id": "only", "skill": "noop", "action": "pass", "params": {"value": 1}}
    body = {"plan": {"plan": {"id": "one", "name": "One", "steps": [passing]}}}

    answer = proposer.post("runs", body | {"inputs": {}})

    made = proposer.get(f"runs/{answer.json()['run_id']}").json()
    assert answer.status_code == 201
    assert (made["plan"], made["state"]) == ("one", "awaiting_approval")
    assert [step["id"] for step in made["steps"]] == ["only"]


@pytest.mark.promise("S3.26")
def test_no_request_waits_for_the_work_that_it_asks_for(proposer, operator) -> None:
    auditor = caller("auditor", Role.AUDITOR)
    body = {"plan": PLAN, "inputs": {"word": "hello"}}

    tried = proposer.post("plans:dry-run", body).json()
    run = proposer.post("runs", body).json()["run_id"]
    verified = auditor.post("trace:verify", {})
    queued = [proposer.get(f"runs/{run}").json()["dry_run"]["state"], tried["state"]]
    end_dry_runs()
    answer = approve(operator, open_gate(operator, run))
    found = proposer.get(f"runs/{run}").json()

    assert queued == ["queued", "queued"]
    assert (verified.status_code, verified.json()["state"]) == (202, "queued")
    assert answer.status_code == 201
    assert (found["state"], found["steps"][0]["state"]) == ("running", "ready")
    assert found["steps"][0]["attempts"] == 0
    work_on(operator, run, "first")
    assert step_of(proposer, run, "first")["state"] == "succeeded"


def test_a_run_has_the_documented_shape(proposer) -> None:
    run = a_run(proposer)

    found = proposer.get(f"runs/{run}").json()

    assert found["id"] == run
    assert (found["plan"], found["revision"]) == ("hand-on", 1)
    assert found["inputs"] == {"word": "hello"}
    assert found["proposer_name"] == "proposer"
    assert len(found["digest"]) == 64
    assert [gate["kind"] for gate in found["gates"]] == ["run"]
    assert [step["id"] for step in found["steps"]] == ["first", "second"]
    assert set(found["steps"][0]) == STEP_KEYS
    assert found["steps"][0]["state"] == "pending"
    assert found["steps"][0]["attempts"] == 0
    assert found["started_at"] is None


@pytest.mark.promise("S0.3", "S0.12", "S3.61", "S1.4", "S3.57")
def test_a_run_goes_from_proposal_to_result_through_both_its_gates(
    proposer, operator
) -> None:
    run = a_run(proposer)
    assert step_of(proposer, run, "first")["state"] == "pending"

    approve(operator, open_gate(operator, run))
    work_on(operator, run, "first")
    waiting = proposer.get(f"runs/{run}").json()
    approve(operator, open_gate(operator, run))
    work_on(operator, run, "second")

    assert [gate["step"] for gate in waiting["gates"]] == ["second"]
    assert [step["state"] for step in waiting["steps"]] == ["succeeded", "gated"]
    done = proposer.get(f"runs/{run}").json()
    assert (done["state"], done["gates"]) == ("succeeded", [])
    assert [step["output"] for step in done["steps"]] == [{"value": "hello"}] * 2
    assert [step["attempts"] for step in done["steps"]] == [1, 1]
    assert done["finished_at"]


def test_a_broken_plan_is_refused_with_all_its_problems(proposer) -> None:
    body = {"plan": PLAN.replace("noop", "nowhere"), "inputs": {"word": "hello"}}

    answer = proposer.post("runs", body)

    assert (answer.status_code, answer.json()["code"]) == (422, "plan.invalid")
    lines = {problem["line"] for problem in answer.json()["problems"]}
    assert lines >= {6, 8}
    assert not Run.objects.exists()


def test_inputs_that_do_not_fit_are_refused(proposer) -> None:
    answer = proposer.post("runs", {"plan": PLAN, "inputs": {"word": 7}})

    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_the_same_key_and_body_give_the_same_run(proposer) -> None:
    body = {"plan": PLAN, "inputs": {"word": "hello"}}
    key = {"Idempotency-Key": "order-7"}

    first = proposer.post("runs", body, **key).json()
    second = proposer.post("runs", body, **key).json()
    without = proposer.post("runs", body).json()

    assert first == second
    assert without["run_id"] != first["run_id"]
    assert Run.objects.count() == 2


def test_the_same_key_with_another_body_is_refused(proposer) -> None:
    key = {"Idempotency-Key": "order-8"}
    proposer.post("runs", {"plan": PLAN, "inputs": {"word": "one"}}, **key)

    answer = proposer.post("runs", {"plan": PLAN, "inputs": {"word": "two"}}, **key)

    assert (answer.status_code, answer.json()["code"]) == (409, "request.key_reused")
    assert Run.objects.count() == 1


def test_the_same_key_of_somebody_else_is_another_key(proposer, operator) -> None:
    body = {"plan": PLAN, "inputs": {"word": "hello"}}
    key = {"Idempotency-Key": "order-9"}

    first = proposer.post("runs", body, **key).json()
    right = {"right": "start", "user": "operator"}
    assert proposer.post("plans/hand-on:grant", right).status_code == 200
    second = operator.post("runs", body, **key).json()

    assert first["run_id"] != second["run_id"]


def test_a_refused_proposal_leaves_its_key_free(proposer) -> None:
    key = {"Idempotency-Key": "order-10"}
    body = {"plan": PLAN, "inputs": {}}
    refused = proposer.post("runs", body, **key)

    again = proposer.post("runs", body, **key)

    assert refused.status_code == 422
    assert again.json()["code"] == refused.json()["code"]


def test_runs_are_listed_newest_first_by_cursor_and_state(proposer, operator) -> None:
    runs = [a_run(proposer, word=word) for word in ("one", "two", "three")]
    operator.post(f"runs/{runs[0]}:cancel")

    first = operator.get("runs", limit=2).json()
    rest = operator.get("runs", limit=2, after=first["next"]).json()
    waiting = operator.get("runs", state="awaiting_approval").json()

    assert [run["id"] for run in first["items"]] == [runs[2], runs[1]]
    assert [run["id"] for run in rest["items"]] == [runs[0]]
    assert rest["next"] is None
    assert {run["id"] for run in waiting["items"]} == set(runs[1:])


def test_a_stranger_sees_no_run_no_event_and_no_gate(proposer) -> None:
    run = a_run(proposer)
    gate = open_gate(proposer, run)["id"]
    stranger = caller("stranger", Role.PROPOSER)

    for path in (
        f"runs/{run}",
        f"runs/{run}/events",
        f"runs/{run}/trace:verify",
        f"gates/{gate}",
    ):
        assert stranger.get(path).status_code == 404, path
    assert stranger.get("runs").json()["items"] == []
    assert stranger.get("gates").json()["items"] == []
    assert stranger.post(f"runs/{run}:cancel").status_code in {403, 404}
    assert proposer.get(f"runs/{run}").json()["state"] == "awaiting_approval"


def test_events_come_in_order_behind_a_cursor_and_none_twice(proposer) -> None:
    run = a_run(proposer)

    every = proposer.get(f"runs/{run}/events").json()
    found, cursor = [], 0
    while page := proposer.get(f"runs/{run}/events", after=cursor, limit=1).json():
        if not page["items"]:
            break
        found += page["items"]
        cursor = page["next"]

    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    assert found == every["items"]
    assert {event["kind"] for event in found} >= {"run.proposed", "gate.requested"}
    names = {event["actor"]["name"] for event in found}
    assert names == {"proposer", "worker"}
    assert page["next"] == every["next"] == cursor


@pytest.mark.promise("S3.65")
def test_a_person_pauses_resumes_and_cancels_a_run(proposer, operator) -> None:
    run = a_run(proposer)
    approve(operator, open_gate(operator, run))

    paused = operator.post(f"runs/{run}:pause", {"reason": "stocktaking"}).json()
    resumed = operator.post(f"runs/{run}:resume").json()
    cancelled = operator.post(f"runs/{run}:cancel", {"reason": "not wanted"}).json()
    again = operator.post(f"runs/{run}:cancel")

    assert (paused["state"], paused["reason"]) == ("paused", "stocktaking")
    assert resumed["state"] == "running"
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "not wanted")
    assert again.status_code == 409
    kinds = [e["kind"] for e in operator.get(f"runs/{run}/events").json()["items"]]
    assert {"run.paused", "run.resumed", "run.cancelled"} <= set(kinds)


def test_only_an_unknown_outcome_can_be_resolved(proposer, operator) -> None:
    run = a_run(proposer)
    step = step_of(operator, run, "first")["step_run_id"]
    body = {"happened": True, "evidence": "the ledger shows it"}

    answer = operator.post(f"steps/{step}:resolve", body)

    assert answer.status_code == 409
    assert answer.json()["code"] == "step.not_indeterminate"


def test_an_unknown_outcome_is_settled_with_evidence_and_an_output(
    proposer, operator
) -> None:
    run = a_run(proposer)
    approve(operator, open_gate(operator, run))
    unknown = lost_after_intent(Run.objects.get(pk=run), "first")
    path = f"steps/{unknown.pk}:resolve"
    body = {"happened": True, "evidence": "the ledger shows it"}

    own = proposer.post(path, body)
    wrong = operator.post(path, body | {"output": {"word": "hello"}})
    listed = operator.post(path, body | {"output": ["hello"]})
    settled = operator.post(path, body | {"output": {"value": "hello"}})

    assert (own.status_code, own.json()["code"]) == (403, "auth.right_missing")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "step.output_invalid")
    assert listed.status_code == 422
    assert settled.status_code == 200
    assert settled.json()["steps"][0]["output"] == {"value": "hello"}


def test_an_unknown_outcome_is_abandoned(proposer, operator) -> None:
    run = a_run(proposer)
    approve(operator, open_gate(operator, run))
    unknown = lost_after_intent(Run.objects.get(pk=run), "first")
    path = f"steps/{unknown.pk}:resolve"

    missing = operator.post(path, {"evidence": "no one knows"})
    ended = operator.post(path, {"happened": None, "evidence": "no one knows"})

    assert missing.status_code == 422
    assert ended.json()["steps"][0]["error"]["code"] == "step.outcome_abandoned"


def test_a_file_is_fetched_by_its_digest_and_only_by_who_may_see_the_run(
    proposer, tmp_path
) -> None:
    run = a_run(proposer)
    source = tmp_path / "result.txt"
    source.write_text("four words of text")
    reference = keep_file(proposer, run, source)

    answer = proposer.get(f"artifacts/{reference['sha256']}")

    body = b"".join(answer.streaming_content)
    assert body == b"four words of text"
    assert hashlib.sha256(body).hexdigest() == reference["sha256"]
    assert answer.headers["Content-Disposition"] == 'attachment; filename="result.txt"'
    stranger = caller("stranger", Role.PROPOSER)
    assert stranger.get(f"artifacts/{reference['sha256']}").status_code == 404


def keep_file(by: Caller, run: str, source) -> dict:
    step = step_of(by, run, "first")["step_run_id"]
    kept = artifacts.store(
        {"result": source}, folder=source.parent, step_run_id=step, at=clock.now()
    )
    reference: dict = kept["result"]["$file"]
    return reference
