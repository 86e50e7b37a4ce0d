"""An agent proposes and reads; on every route that decides it is turned away."""

import json
from typing import Any

import pytest
from django.test import Client

from execfabric.lib.rights import Role
from orchestration.runs.models import Run
from tests.api_builders import (
    PLAN,
    Caller,
    a_run,
    agent,
    approve,
    caller,
    open_gate,
    person,
    registry,
    token_of,
)

pytestmark = pytest.mark.django_db

PROPOSING = {
    # Like a revision of a plan: with the right to edit it.
    "/api/v1/artifacts/{artifact_id}:fork",
    "/api/v1/files",
    "/api/v1/plans",
    "/api/v1/plans/{plan_id}/runs",
    "/api/v1/plans:dry-run",
    "/api/v1/plans:validate",
    "/api/v1/runs",
    "/api/v1/runs/{run_id}:rerun",
}
SENDING = {"/api/v1/events"}
"""An agent may report what happened."""
ITS_OWN = {"/api/v1/tokens/{token_id}:revoke"}
"""An agent may take back its own tokens; those of others do not exist for it."""
BODIES = {
    ":archive": {"version": "00000000-0000-7000-8000-000000000000", "reason": "old"},
    "decisions": {"approve": True, "digest": "0" * 64, "comment": "yes"},
    ":grant": {"right": "view", "user": "owner"},
    ":revoke": {"right": "view", "user": "owner"},
    ":resolve": {"happened": True, "evidence": "seen"},
    "/stops": {"reason": "down"},
    ":lift": {"reason": "up"},
    ":abort": {"reason": "wrong"},
    ":retry": {"reason": "again"},
    ":skip": {"reason": "not needed"},
    ":fallback": {"reason": "instead"},
    ":complete": {"reason": "by hand", "evidence": "seen"},
}


def deciding_routes() -> list[tuple[str, str]]:
    """Every operation of the document that is neither a read nor a proposal."""
    document = Client().get("/api/v1/openapi.json").json()
    return [
        (method, path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "get" and path not in PROPOSING | SENDING | ITS_OWN
    ]


def ids_of(run: str, gate: str, step: str) -> dict[str, str]:
    parts = {"{run_id}": run, "{gate_id}": gate, "{step_run_id}": step}
    others = dict.fromkeys(
        ("{schedule_id}", "{hook_id}", "{artifact_id}", "{stop_id}"), run
    )
    named = {"{plan_id}": "hand-on", "{key}": f"failed.{step}.1", "{failure_id}": "1"}
    return parts | others | named


def send(by: Caller, method: str, path: str, ids: dict[str, str], body: bytes) -> Any:
    for name, value in ids.items():
        path = path.replace(name, value)
    assert "{" not in path, f"the test knows no value for {path}"
    return Client().generic(
        method.upper(), path, body, content_type="application/json", headers=by.headers
    )


def test_the_document_lists_the_routes_that_decide() -> None:
    assert {path for _, path in deciding_routes()} == {
        "/api/v1/artifacts/{artifact_id}:archive",
        "/api/v1/attention/{key}:release",
        "/api/v1/attention/{key}:take",
        "/api/v1/failures/{failure_id}:re-emit",
        "/api/v1/gates/{gate_id}/decisions",
        "/api/v1/gates/{gate_id}:answer",
        "/api/v1/hooks",
        "/api/v1/hooks/{hook_id}:change",
        "/api/v1/hooks/{hook_id}:delete",
        "/api/v1/hooks/{hook_id}:pause",
        "/api/v1/hooks/{hook_id}:resume",
        "/api/v1/hooks/{hook_id}:rotate",
        "/api/v1/plans/{plan_id}:grant",
        "/api/v1/plans/{plan_id}:revoke",
        "/api/v1/runs/{run_id}:abort",
        "/api/v1/runs/{run_id}:cancel",
        "/api/v1/runs/{run_id}:pause",
        "/api/v1/runs/{run_id}:resume",
        "/api/v1/runs/{run_id}:rollback",
        "/api/v1/schedules",
        "/api/v1/schedules/{schedule_id}:change",
        "/api/v1/schedules/{schedule_id}:delete",
        "/api/v1/schedules/{schedule_id}:pause",
        "/api/v1/schedules/{schedule_id}:resume",
        "/api/v1/steps/{step_run_id}:complete",
        "/api/v1/steps/{step_run_id}:fallback",
        "/api/v1/steps/{step_run_id}:resolve",
        "/api/v1/steps/{step_run_id}:retry",
        "/api/v1/steps/{step_run_id}:skip",
        "/api/v1/stops",
        "/api/v1/stops/{stop_id}:lift",
        "/api/v1/trace:verify",
    }


@pytest.mark.parametrize("whose", ["its own run", "another's run", "nothing there"])
@pytest.mark.parametrize("body", ["well formed", "malformed", "not json"])
def test_an_agent_gets_403_with_a_code_on_every_route_that_decides(whose, body) -> None:
    registry()
    bot = agent("bot", person("owner", Role.OPERATOR, Role.ADMIN))
    operator = caller("operator", Role.OPERATOR)
    nil = "00000000-0000-7000-8000-000000000000"
    ids = ids_of(nil, nil, nil)
    if whose != "nothing there":
        run = a_run(bot if whose == "its own run" else operator)
        step = operator.get(f"runs/{run}").json()["steps"][0]["step_run_id"]
        ids = ids_of(run, open_gate(operator, run)["id"], step)

    for method, path in deciding_routes():
        fitting = next((b for end, b in BODIES.items() if path.endswith(end)), {})
        sent = {
            "well formed": json.dumps(fitting).encode(),
            "malformed": b'{"no": "such", "field": 1}',
            "not json": b"{",
        }[body]

        answer = send(bot, method, path, ids, sent)

        assert answer.status_code == 403, (path, answer.content)
        assert answer.json()["code"] == "auth.agents_cannot_decide", path


def test_an_agent_proposes_and_reads_its_own_run_only() -> None:
    registry()
    bot = agent("bot", person("owner", Role.PROPOSER))
    other = agent("other", person("stranger", Role.PROPOSER))

    run = a_run(bot)

    assert bot.get(f"runs/{run}").json()["state"] == "awaiting_approval"
    assert open_gate(bot, run)["status"] == "requested"
    assert other.get(f"runs/{run}").status_code == 404
    assert other.get("runs").json()["items"] == []
    assert other.get("gates", run=run).json()["items"] == []


def test_the_owner_of_an_agent_cannot_approve_what_it_proposed() -> None:
    registry()
    owner = person("owner", Role.OPERATOR)
    run = a_run(agent("bot", owner))
    mine = Caller(token_of(owner))

    answer = approve(mine, open_gate(mine, run))

    assert answer.status_code == 403
    assert answer.json()["code"] == "approval.agent_owner"
    assert Run.objects.get(pk=run).state == "awaiting_approval"


def test_an_agent_whose_owner_may_not_propose_cannot_either() -> None:
    registry()
    bot = agent("bot", person("auditor", Role.AUDITOR))

    answer = bot.post("runs", {"plan": PLAN, "inputs": {"word": "hello"}})

    assert answer.status_code == 403
    assert not Run.objects.exists()
