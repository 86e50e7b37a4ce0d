"""Dry runs in real worker processes, and who has secrets in its environment."""

from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.db.models.functions import Now

from execfabric.lib import clock
from execfabric.local import commands
from orchestration.runs.control import dry_runs
from orchestration.runs.keeper import sweep
from orchestration.runs.models import DryRun
from tests.builders import plan, step
from tests.servers import Spawned, eventually, spawn
from tests.web_server import database_url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
SECRETS = {
    "EXECFABRIC_SECRETS_DIR": "/nonexistent",
    "EXECFABRIC_SECRET_JIRA_TOKEN": "a-secret-token",
}


def a_part(kind, **options) -> Spawned:
    return spawn(kind, {"DATABASE_URL": database_url(), **SECRETS}, **options)


def is_in(row: DryRun, *states: str) -> bool:
    sweep.sweep(at=clock.now() + timedelta(seconds=10))
    row.refresh_from_db()
    return row.state in states


def test_a_dry_run_outlives_a_worker_killed_in_the_middle_of_it(
    proposer, tmp_path
) -> None:
    gate = tmp_path / "closed"
    gate.touch()
    waits = step("a", "look", params={"how": "wait", "while": str(gate)})
    row = dry_runs.request(
        text=plan(waits, step("b")), inputs={}, by=proposer.actor(), at=clock.now()
    )
    first = a_part("worker", concurrency=2, name="first")
    try:
        assert eventually(lambda: is_in(row, "running"), within=120)
    finally:
        first.kill9()
    gate.unlink()
    DryRun.objects.update(lease_until=Now() - timedelta(seconds=1))
    second = a_part("worker", concurrency=2, name="second")
    try:
        assert eventually(lambda: is_in(row, "finished", "incomplete"), within=120)
    finally:
        second.stop()

    assert (row.state, row.tries, row.worker) == ("finished", 2, "")
    assert row.report["coverage"] == 100


def test_the_web_server_and_the_keeper_have_no_secret_in_their_environment() -> None:
    web = a_part("web")
    try:
        web.wait_ready(180)
        family = [psutil.Process(web.pid)]
        family += family[0].children(recursive=True)
        environments = [
            Path(f"/proc/{process.pid}/environ").read_bytes() for process in family
        ]
    finally:
        web.stop()

    assert all(b"DATABASE_URL=" in one for one in environments)
    for one in environments:
        assert b"EXECFABRIC_SECRET" not in one
    keeper = commands.keeper(SECRETS, ready_file=Path("ready"))
    worker = commands.worker(SECRETS, concurrency=1)
    assert (dict(keeper.env), dict(worker.env)) == ({}, SECRETS)
