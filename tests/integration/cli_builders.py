"""The `execfabric` command as tests call it, and what happens between its calls."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import connection

from execfabric.cli.main import main
from execfabric.lib.rights import Role
from orchestration.runs.models import StepRun
from orchestration.runs.worker.work import work
from tests.api_builders import PLAN, agent, person, registry, token_of
from tests.builders import a_worker, end_dry_runs

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """What one call of the command left."""

    returncode: int
    stdout: str
    stderr: str


def in_a_process(environment: dict[str, str], given: tuple[str, ...]) -> Done:
    """Run the command as a shell does."""
    done = subprocess.run(
        [sys.executable, "-m", "execfabric.cli", *given],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def at_once(environment: dict[str, str], given: tuple[str, ...]) -> Done:
    """Run the same entry point without starting a process."""
    out, err = StringIO(), StringIO()
    with (
        patch.dict(os.environ, environment),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as left,
    ):
        main(given)
    return Done(int(left.value.code or 0), out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Shell:
    """Where the command is called, and as whom."""

    url: str
    folder: Path
    tokens: dict[str, str]
    run: Callable[[dict[str, str], tuple[str, ...]], Done] = at_once

    def call(self, who: str, *given: str) -> Done:
        environment = {
            "EXECFABRIC_URL": self.url,
            "EXECFABRIC_TOKEN": self.tokens.get(who, who),
            "COLUMNS": "200",
        }
        return self.run(environment, given)

    def json(self, who: str, *arguments: str, code: int = 0) -> Any:
        done = self.call(who, *arguments, "--json")
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def refused(self, who: str, *arguments: str, code: int) -> str:
        done = self.call(who, "--json", *arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert done.stdout == ""
        return str(json.loads(done.stderr)["code"])

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)


def shell_at(url: str, folder: Path) -> Shell:
    """Return the command, with a token for each kind of caller."""
    registry()
    owner = person("owner", Role.OPERATOR)
    tokens = {
        "proposer": token_of(person("proposer", Role.PROPOSER)),
        "operator": token_of(person("operator", Role.OPERATOR)),
        "stranger": token_of(person("stranger", Role.PROPOSER)),
        "agent": agent("bot", owner).token,
    }
    return Shell(url, folder, tokens)


def work_off(run: str) -> None:
    """Run all ready steps, as a worker does."""
    worker = a_worker("test")
    ready = StepRun.objects.filter(run_id=UUID(run), state="ready").order_by("position")
    try:
        while found := ready.first():
            work(step_run_id=found.pk, context=worker)
    finally:
        worker.close()


@contextmanager
def dry_run_worker() -> Iterator[None]:
    """Carry out dry runs beside the body, as a worker does."""
    stop = threading.Event()

    def carry_out() -> None:
        while not stop.wait(0.05):
            end_dry_runs()
        connection.close()

    thread = threading.Thread(target=carry_out)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def propose(shell: Shell, who: str = "proposer") -> str:
    """Start a run of the plan and return its id."""
    file = shell.write("plan.yaml", PLAN)
    made = shell.json(who, "plan", "propose", file, "--input", "word=hello")
    end_dry_runs()
    return str(made["run_id"])


def gate_of(shell: Shell, run: str) -> dict[str, Any]:
    """Return the open gate of a run with all its fields."""
    listed = shell.json("operator", "gate", "list", "--run", run, "--status", "open")
    assert len(listed) == 1
    found: dict[str, Any] = shell.json("operator", "gate", "show", listed[0]["id"])
    return found


def approve(shell: Shell, gate: dict[str, Any]) -> dict[str, Any]:
    """Approve what the gate shows, and return the gate after it."""
    found: dict[str, Any] = shell.json(
        "operator", "gate", "approve", gate["id"], "--digest", gate["digest"]
    )
    return found
