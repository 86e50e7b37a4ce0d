"""`execfabric stop`: stop, list and lift."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_builders import Shell, approve, gate_of, propose, shell_at

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shell(live_server: Any, tmp_path: Path) -> Shell:
    """Run the command against a server in this process."""
    return shell_at(live_server.url, tmp_path)


def test_steps_are_stopped_and_the_stop_is_lifted(shell: Shell) -> None:
    made = shell.json("operator", "stop", "--reason", "Down.", "--cancel")
    active = shell.call("operator", "stop", "list", "--active")
    lifted = shell.json("operator", "stop", "lift", made["id"], "--reason", "Up.")
    shown = shell.call("operator", "stop", "list")

    assert (made["skill"], made["cancel"], made["is_active"]) == ("", True, True)
    assert "Down." in active.stdout
    assert (lifted["is_active"], lifted["lift_reason"]) == (False, "Up.")
    assert shown.returncode == 0
    assert shell.json("operator", "stop", "list", "--active") == []


@pytest.mark.parametrize(
    "option", [("--skill", "http"), ("--reason", "x"), ("--cancel",)]
)
def test_options_of_a_stop_are_refused_before_another_command(
    option: tuple[str, ...], shell: Shell
) -> None:
    refused = shell.call("operator", "stop", *option, "list")

    assert refused.returncode == 2
    assert "not valid before 'list'" in " ".join(refused.stderr.split())


def test_a_run_that_a_stop_holds_names_it(shell: Shell) -> None:
    run = propose(shell)
    approve(shell, gate_of(shell, run))
    made = shell.json("operator", "stop", "--reason", "Down.")
    shown = shell.call("operator", "run", "get", run)

    assert f"held by stop {made['id']} (all steps) Down." in shown.stdout


def test_a_stop_needs_a_reason_and_the_right(shell: Shell) -> None:
    without = shell.call("operator", "stop")
    refused = shell.call("proposer", "stop", "--reason", "Down.")

    assert (without.returncode, refused.returncode) == (2, 4)
    assert "a reason is required" in without.stderr
    assert shell.json("operator", "stop", "list") == []
