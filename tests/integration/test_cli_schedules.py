"""`execfabric schedule`: create, list, show, pause, resume, delete."""

from pathlib import Path
from typing import Any

import pytest

from tests.api_builders import PLAN
from tests.integration.cli_builders import Shell, shell_at

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shell(live_server: Any, tmp_path: Path) -> Shell:
    """Run the command against a server in this process."""
    return shell_at(live_server.url, tmp_path)


def test_a_schedule_is_created_listed_shown_paused_and_deleted(shell: Shell) -> None:
    shell.json("proposer", "plan", "save", shell.write("plan.yaml", PLAN))
    options = ("--cron", "30 6 * * MON-FRI", "--zone", "Europe/Berlin")
    word = ("--input", "word=x")

    made = shell.json("proposer", "schedule", "create", "hand-on", *options, *word)
    [row] = shell.json("proposer", "schedule", "list", "--plan", "hand-on")
    shown = shell.call("proposer", "schedule", "show", made["id"])
    paused = shell.json("proposer", "schedule", "pause", made["id"])
    resumed = shell.json("proposer", "schedule", "resume", made["id"])
    deleted = shell.json("proposer", "schedule", "delete", made["id"])

    assert (row["name"], row["inputs"]) == ("hand-on", {"word": "x"})
    assert shown.stdout.count("next ") == 5
    assert [each["state"] for each in (paused, resumed, deleted)] == [
        "paused",
        "active",
        "deleted",
    ]
    assert shell.json("proposer", "schedule", "list") == []
