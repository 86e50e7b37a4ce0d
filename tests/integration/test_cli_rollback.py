"""`execfabric run rollback`: preview, confirm, the last failed run of a plan."""

from pathlib import Path
from typing import Any

import pytest

from execfabric.identity.models import User
from orchestration.runs.models import Run
from tests.builders import approved, driven, plan
from tests.integration.cli_builders import Shell, shell_at
from tests.integration.rollback_builders import (
    FAILS,
    done,
    failing,
    rolled_back,
    undoable,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def shell(live_server: Any, tmp_path: Path) -> Shell:
    """Run the command against a server in this process."""
    return shell_at(live_server.url, tmp_path)


@pytest.fixture
def run(shell: Shell, worker) -> Run:
    proposer, operator = (
        User.objects.get(username=name) for name in ("proposer", "operator")
    )
    text = undoable(2, failing("bad", after="s1"))
    return driven(approved(text, proposer, operator), worker)


def test_a_run_is_previewed_and_rolled_back(shell: Shell, run: Run, worker) -> None:
    words = ("run", "rollback", str(run.pk))

    table = shell.call("operator", *words).stdout
    begun = shell.json("operator", *words, "--reason", "Broken.", "--yes")

    assert table.index("undo-s1") < table.index("undo-s0")
    assert "not undone: bad" in table
    assert begun["state"] == "rolling_back"
    assert driven(run, worker).state == "rolled_back"


def test_the_last_failed_run_of_a_plan_is_rolled_back_to_a_step(
    shell: Shell, run: Run, worker
) -> None:
    words = ("run", "rollback", "--last", "lab-plan", "--to", "s0")

    begun = shell.json("operator", *words, "--reason", "Broken.", "--yes")

    assert begun["id"] == str(run.pk)
    driven(run, worker)
    assert run.steps.get(key="s0").state == "succeeded"
    assert run.steps.get(key="s1").state == "compensated"


def test_a_failed_undo_is_skipped(shell: Shell, worker) -> None:
    proposer, operator = (
        User.objects.get(username=name) for name in ("proposer", "operator")
    )
    made = driven(
        approved(plan(done("s0", rollback=FAILS)), proposer, operator), worker
    )
    rolled_back(made, operator)
    driven(made, worker)
    undo = str(made.steps.get(key="s0.undo").pk)

    shown = shell.call("operator", "step", "actions", undo).stdout
    after = shell.json("operator", "step", "skip", undo, "--reason", "It is gone.")

    assert "An undo has no fallback." in shown
    assert after["state"] == "rollback_failed"
    assert after["reason"] == "0 steps were undone. Skipped by a user: s0.undo."


@pytest.mark.parametrize("words", [(), ("ID", "--last", "lab-plan")])
def test_exactly_one_run_is_named(shell: Shell, words) -> None:
    done = shell.call("operator", "run", "rollback", *words)

    assert done.returncode == 2
    assert "Name one run" in done.stderr
