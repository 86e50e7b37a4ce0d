"""The `execfabric` command against a real server: answers, JSON and exit codes."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from execfabric.cli import trace
from execfabric.lib import clock
from orchestration.runs.models import Run
from orchestration.skills import installed
from orchestration.skills.models import Skill
from orchestration.skills.services import sync
from orchestration.skills.services.sync import grant_defaults
from orchestration.trace.models import VerificationJob
from orchestration.trace.services import jobs
from tests.api_builders import PLAN, tamper
from tests.builders import end_dry_runs
from tests.integration.cli_builders import (
    ROOT,
    Shell,
    approve,
    dry_run_worker,
    gate_of,
    in_a_process,
    propose,
    shell_at,
    work_off,
)
from tests.web.run_builders import lost_after_intent
from tests.web_server import serving

pytestmark = pytest.mark.django_db(transaction=True)
FAILING = """\
plan:
  id: failing
  name: A plan that fails
  steps:
    - {id: order, skill: noop, action: pass, params: {value: {items: 3}}}
    - {id: total, skill: noop, action: pass, dependsOn: [order], params: {value: $order.output.value.amount}}
    - {id: send, skill: noop, action: pass, dependsOn: [total]}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Start the real web server on the database of the test."""
    with serving(tmp_path) as url:
        yield url


@pytest.fixture
def shell(live_server: Any, tmp_path: Path) -> Shell:
    """Run the command against a server in this process."""
    return shell_at(live_server.url, tmp_path)


def test_a_plan_is_checked_tried_and_proposed(shell: Shell) -> None:
    file = shell.write("plan.yaml", PLAN)
    given = ("--input", "word=hello")

    checked = shell.json("proposer", "plan", "validate", file, *given)
    with dry_run_worker():
        told = shell.json("proposer", "plan", "dry-run", file, *given)
        plain = shell.call("proposer", "plan", "dry-run", file, *given)
    made = shell.json("proposer", "plan", "propose", file, *given)

    assert set(checked) == {"valid", "digest", "order", "gates", "problems"}
    assert (checked["valid"], checked["order"]) == (True, ["first", "second"])
    assert (told["state"], told["coverage"], len(told["steps"])) == ("finished", 100, 2)
    assert plain.returncode == 0
    assert "Does nothing." in plain.stdout
    assert "{" not in plain.stdout
    assert "steps done" in plain.stderr
    assert set(made) == {"run_id", "state", "url"}
    assert made["state"] == "awaiting_approval"


FILE_PLAN = """\
plan:
  id: pass-a-file
  inputs: {type: object, properties: {doc: {type: string, format: file}}, required: [doc]}
  steps: [{id: only, skill: noop, action: pass, params: {value: $inputs.doc}}]
"""


def test_an_input_with_an_at_sign_is_uploaded(shell: Shell) -> None:
    file = shell.write("plan.yaml", FILE_PLAN)
    given = ("--input", f"doc=@{shell.write('a b.txt', 'Words')}")

    assert shell.json("proposer", "plan", "validate", file, *given)["valid"]
    for act in (("propose", file), ("start", "pass-a-file")):
        made = shell.json("proposer", "plan", *act, *given)
        [reference] = Run.objects.get(pk=made["run_id"]).inputs.values()
        uploaded = reference["$file"]["name"], reference["$file"]["size"]
        assert uploaded == ("a b.txt", 5)
    end_dry_runs()


def test_a_file_that_cannot_be_uploaded_is_named(shell: Shell) -> None:
    file, empty = shell.write("plan.yaml", FILE_PLAN), shell.write("empty.txt", "")
    propose_with = ("plan", "propose", file, "--input")

    missing = shell.refused("proposer", *propose_with, "doc=@/nonexistent/x", code=2)
    refused = shell.refused("proposer", *propose_with, f"doc=@{empty}", code=2)
    quoted = shell.refused("proposer", *propose_with, 'doc="@ada"', code=2)

    assert missing == "cli.file_unreadable"
    assert refused == "upload.empty"
    assert quoted == "plan.invalid"


def test_a_dry_run_that_finds_a_failure_exits_with_1_and_names_the_step(
    shell: Shell,
) -> None:
    text = PLAN.replace("skill: noop", "skill: http").replace(
        "action: pass", "action: request"
    )
    text = text.replace("{value: $inputs.word}", "{url: 'http://127.0.0.1/'}")
    text = text.replace("{value: $first.output.value}", "{url: 'http://127.0.0.1/'}")
    sync.take(installed.shipped("http"), at=clock.now())
    grant_defaults(Skill.objects.get(slug="http"), at=clock.now())
    file = shell.write("plan.yaml", text)

    with dry_run_worker():
        done = shell.call("proposer", "plan", "dry-run", file, "--input", "word=x")

    assert done.returncode == 1
    assert "would fail: first" in done.stdout
    assert "coverage  0 %" in done.stdout


def test_from_proposal_to_result(server: str, tmp_path: Path) -> None:
    shell = replace(shell_at(server, tmp_path), run=in_a_process)
    run = propose(shell)

    waiting = shell.json("proposer", "run", "watch", run, code=3)
    gate = gate_of(shell, run)
    decided = approve(shell, gate)
    work_off(run)
    shell.json("proposer", "run", "watch", run, code=3)
    step_gate = gate_of(shell, run)
    approve(shell, step_gate)
    work_off(run)
    done = shell.json("proposer", "run", "watch", run)

    assert waiting["state"] == "awaiting_approval"
    assert (gate["run_id"], gate["step"], gate["status"]) == (run, None, "requested")
    assert decided["status"] == "approved"
    assert decided["decisions"][0]["channel"] == "cli"
    assert (step_gate["step"], step_gate["kind"]) == ("second", "step")
    assert done["state"] == "succeeded"
    assert done == shell.json("proposer", "run", "get", run)
    assert [step["id"] for step in done["steps"]] == ["first", "second"]
    assert [step["output"] for step in done["steps"]] == [{"value": "hello"}] * 2


def test_the_record_of_a_run_is_listed_and_verified(shell: Shell) -> None:
    run = propose(shell)

    events = shell.json("proposer", "run", "events", run)
    behind = shell.json("proposer", "run", "events", run, "--after", "1")
    proof = shell.json("proposer", "trace", "verify", run)

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert behind == events[1:]
    assert (proof["verified"], proof["events"]) == (True, len(events))
    assert [row["id"] for row in shell.json("proposer", "run", "list")] == [run]


def test_refusals_have_their_exit_codes(shell: Shell) -> None:
    run = propose(shell, "operator")
    gate = gate_of(shell, run)
    answer = ("gate", "approve", gate["id"], "--digest")
    nil = "00000000-0000-7000-8000-000000000000"

    refused = shell.refused
    assert refused("operator", *answer, gate["digest"], code=4) == (
        "approval.own_proposal"
    )
    assert refused("agent", *answer, gate["digest"], code=4) == (
        "auth.agents_cannot_decide"
    )
    assert refused("agent", "run", "cancel", run, code=4) == "auth.agents_cannot_decide"
    assert refused("ef_nobody", "run", "list", code=4) == "auth.not_signed_in"
    assert refused("", "whoami", code=4) == "auth.not_signed_in"
    assert refused("stranger", "run", "get", run, code=5) == "run.unknown"
    assert refused("operator", "run", "get", nil, code=5) == "run.unknown"
    assert refused("operator", "run", "get", "nonsense", code=5) == (
        "request.route_unknown"
    )
    assert refused("operator", "skill", "show", "nowhere", code=5) == "skill.unknown"
    assert refused("operator", "trace", "verify", nil, code=5) == "run.unknown"
    assert refused("operator", "run", "resume", run, code=1)
    assert refused("operator", "run", "list", "--state", "asleep", code=2) == (
        "request.invalid"
    )


def test_wrong_use_has_exit_code_2(shell: Shell) -> None:
    file = shell.write("plan.yaml", PLAN)
    (shell.folder / "binary.yaml").write_bytes(b"\xff\xfe")
    missing = str(shell.folder / "missing.yaml")
    binary = str(shell.folder / "binary.yaml")
    nil = "00000000-0000-7000-8000-000000000000"

    assert shell.refused("proposer", "plan", "validate", missing, code=2) == (
        "cli.file_unreadable"
    )
    assert shell.refused("proposer", "plan", "validate", binary, code=2) == (
        "cli.file_unreadable"
    )
    for wrong in (
        ("plan", "propose", file, "--input", "word"),
        ("plan", "propose", file, "--input", "word=a", "--input", "word=b"),
        ("plan", "validate"),
        ("gate", "approve", nil),
        ("gate", "reject", nil, "--digest", "0" * 64),
        ("run", "get", "../me"),
        ("run", "fly", nil),
        ("run", "list", "--limit", "0"),
    ):
        assert shell.refused("proposer", *wrong, code=2), wrong


def test_an_invalid_plan_fails_validation_with_places(shell: Shell) -> None:
    file = shell.write("plan.yaml", PLAN.replace("noop", "nowhere"))

    found = shell.json("proposer", "plan", "validate", file, code=1)
    for_people = shell.call("proposer", "plan", "validate", file)
    proposed = shell.call("proposer", "plan", "propose", file, "--input", "word=a")

    assert found["valid"] is False
    problem = found["problems"][0]
    assert {"code", "message", "step", "line", "column"} <= set(problem)
    assert for_people.returncode == 1
    assert f"{problem['line']}:{problem['column']} {problem['code']}" in (
        for_people.stdout
    )
    assert proposed.returncode == 2
    assert proposed.stderr.startswith("plan.invalid: ")
    assert problem["code"] in proposed.stderr


def test_a_rejected_run_fails_and_steering_is_shown(shell: Shell) -> None:
    run = propose(shell)
    gate = gate_of(shell, run)

    rejected = shell.json(
        *("operator", "gate", "reject", gate["id"]),
        *("--digest", gate["digest"], "--comment", "wrong month"),
    )
    watched = shell.json("proposer", "run", "watch", run, code=1)

    assert rejected["status"] == "rejected"
    assert watched["state"] == "rejected"


def test_a_run_is_paused_resumed_and_cancelled(shell: Shell) -> None:
    run = propose(shell)
    approve(shell, gate_of(shell, run))

    paused = shell.json("operator", "run", "pause", run, "--reason", "stocktaking")
    watched = shell.json("operator", "run", "watch", run, code=1)
    resumed = shell.json("operator", "run", "resume", run)
    cancelled = shell.json("operator", "run", "cancel", run, "--reason", "enough")

    assert (paused["state"], paused["reason"]) == ("paused", "stocktaking")
    assert watched["state"] == "paused"
    assert resumed["state"] == "running"
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "enough")


def test_an_unknown_outcome_is_settled_with_its_output(shell: Shell) -> None:
    run = propose(shell)
    approve(shell, gate_of(shell, run))
    unknown = str(lost_after_intent(Run.objects.get(pk=run), "first").pk)
    found = ("step", "resolve", unknown, "--happened", "--evidence", "Seen.")

    for text in ("[1]", "{"):
        code = shell.refused("operator", *found, "--output", text, code=2)
        assert code == "cli.output_malformed"
    wrong = shell.refused("operator", *found, "--output", '{"word": 1}', code=2)
    settled = shell.json("operator", *found, "--output", '{"value": "hello"}')

    assert wrong == "step.output_invalid"
    assert settled["steps"][0]["output"] == {"value": "hello"}


def test_a_failed_step_is_acted_on(shell: Shell) -> None:
    file = shell.write("failing.yaml", FAILING)
    run = shell.json("proposer", "plan", "propose", file)["run_id"]
    end_dry_runs()
    approve(shell, gate_of(shell, run))
    work_off(run)
    step = shell.json("operator", "run", "get", run)["steps"][1]["step_run_id"]
    why = ("--reason", "Known gap.")

    offered = shell.call("operator", "step", "actions", step)
    none = shell.refused("operator", "step", "fallback", step, *why, code=1)
    again = shell.json("operator", "step", "retry", step, *why)
    done = shell.json(
        "operator", "step", "complete", step, *why,
        "--evidence", "Ledger.", "--output", '{"value": 3}',
    )  # fmt: skip
    late = shell.refused("operator", "step", "skip", step, *why, code=1)
    aborted = shell.json("operator", "run", "abort", run, *why)

    assert "The plan declares no fallback for this step." in offered.stdout
    assert "these steps are skipped too: send" in offered.stdout
    assert (none, late) == ("step.act_refused", "step.act_refused")
    assert again["state"] == "paused"
    assert done["steps"][1]["output"] == {"value": 3}
    assert aborted["reason"] == "Aborted by operator: Known gap."


def test_an_unknown_outcome_is_abandoned(shell: Shell) -> None:
    run = propose(shell)
    approve(shell, gate_of(shell, run))
    unknown = str(lost_after_intent(Run.objects.get(pk=run), "first").pk)
    words = ("step", "resolve", unknown, "--evidence", "The target is gone.")

    neither = shell.call("operator", *words)
    both = shell.call("operator", *words, "--abandon", "--happened")
    ended = shell.json("operator", *words, "--abandon")

    assert neither.returncode == both.returncode == 2
    assert ended["steps"][0]["error"]["code"] == "step.outcome_abandoned"


def test_one_changed_byte_is_named(shell: Shell) -> None:
    run = propose(shell)
    tamper(run, 1)

    found = shell.json("proposer", "trace", "verify", run, code=1)
    for_people = shell.call("proposer", "trace", "verify", run)

    assert (found["verified"], found["broken"]["seq"]) == (False, 1)
    assert for_people.returncode == 1
    assert f"BROKEN run:{run} at seq 1" in for_people.stdout


def test_the_whole_record_is_verified_by_a_worker(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = propose(shell)
    monkeypatch.setattr(trace, "POLL_SECONDS", 0.05)

    with working():
        whole = shell.json("operator", "trace", "verify")
        tamper(run, 1)
        broken = shell.json("operator", "trace", "verify", code=1)
        for_people = shell.call("operator", "trace", "verify")

    assert (whole["state"], whole["verified"]) == ("finished", True)
    assert whole["done"] == whole["total"]
    assert [found["seq"] for found in broken["findings"]] == [1]
    assert f"BROKEN run:{run} at seq 1" in for_people.stdout


@contextmanager
def working() -> Iterator[None]:
    """Have a keeper and a worker take every verification that is queued."""
    stop = threading.Event()

    def take() -> None:
        try:
            while not stop.wait(0.05):
                for job in VerificationJob.objects.filter(state="queued"):
                    jobs.work(job_id=job.pk, at=clock.now())
        finally:
            connection.close()

    worker = threading.Thread(target=take)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def test_json_may_stand_before_or_behind_and_people_get_tables(shell: Shell) -> None:
    before = shell.call("proposer", "--json", "skill", "list")
    behind = shell.call("proposer", "skill", "list", "--json")
    for_people = shell.call("proposer", "skill", "list")

    assert json.loads(before.stdout) == json.loads(behind.stdout)
    assert "noop" in {skill["slug"] for skill in json.loads(before.stdout)}
    assert for_people.returncode == 0
    assert "noop" in for_people.stdout
    assert shell.json("proposer", "skill", "show", "noop")["slug"] == "noop"
    assert shell.json("agent", "whoami")["kind"] == "agent"


def test_a_plan_may_come_from_standard_input(shell: Shell, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(PLAN.encode())))

    done = shell.call("proposer", "plan", "validate", "-", "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["order"] == ["first", "second"]


def test_what_others_wrote_cannot_steer_the_terminal(shell: Shell) -> None:
    run = propose(shell)
    shell.json(
        "proposer", "run", "cancel", run, "--reason", "\x1b[2Jgone [red]no[/red]"
    )

    shown = shell.call("operator", "run", "get", run).stdout

    assert "\x1b" not in shown
    assert "gone [red]no[/red]" in shown


def test_a_server_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    nobody = Shell("http://127.0.0.1:9", tmp_path, {})

    assert nobody.refused("ef_x", "run", "list", code=1) == "cli.no_connection"


def test_the_command_needs_no_django() -> None:
    script = (
        "import sys, execfabric.cli.main;"
        "print([m for m in ('django', 'celery', 'psycopg') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"
