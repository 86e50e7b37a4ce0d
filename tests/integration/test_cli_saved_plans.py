"""`execfabric plan` for saved plans: save, list, show, start and compare."""

from pathlib import Path
from typing import Any

import pytest

from orchestration.runs.models import Run
from tests.api_builders import PLAN
from tests.integration.cli_builders import Shell, shell_at

pytestmark = pytest.mark.django_db(transaction=True)

CHANGED = PLAN.replace("id: second", "id: third")


@pytest.fixture
def shell(live_server: Any, tmp_path: Path) -> Shell:
    """Run the command against a server in this process."""
    return shell_at(live_server.url, tmp_path)


def test_a_plan_is_saved_listed_shown_and_started_by_name(shell: Shell) -> None:
    file = shell.write("plan.yaml", PLAN)

    saved = shell.json("proposer", "plan", "save", file)
    [row] = shell.json("proposer", "plan", "list", "--search", "hand")
    shown = shell.json("proposer", "plan", "show", "hand-on")
    started = shell.json("proposer", "plan", "start", "hand-on", "--input", "word=7a")
    plain = shell.call("proposer", "plan", "show", "hand-on", "--revision", "1")

    assert (saved["id"], saved["revision"]) == ("hand-on", 1)
    assert (row["id"], row["name"]) == ("hand-on", "Hand a value on")
    assert shown["source"] == PLAN
    assert started["state"] == "awaiting_approval"
    assert Run.objects.get().inputs == {"word": "7a"}
    assert PLAN.strip() in plain.stdout


def test_two_revisions_are_compared_by_step(shell: Shell) -> None:
    shell.json("proposer", "plan", "save", shell.write("one.yaml", PLAN))
    shell.json("proposer", "plan", "save", shell.write("two.yaml", CHANGED))

    found = shell.json("proposer", "plan", "diff", "hand-on", "1", "2")
    plain = shell.call("proposer", "plan", "diff", "hand-on", "1", "2")
    same = shell.call("proposer", "plan", "diff", "hand-on", "2", "2")

    changes = [(each["step"], each["change"]) for each in found["steps"]]
    assert changes == [("third", "added"), ("second", "removed")]
    assert "third added" in plain.stdout
    assert (
        "third required approval: none -> 1 operator: Somebody should" in plain.stdout
    )
    assert same.stdout == "No differences.\n"


def test_refusals_have_their_code_and_exit_code(shell: Shell) -> None:
    file = shell.write("plan.yaml", PLAN)
    shell.json("operator", "plan", "save", file)
    changed = shell.write("changed.yaml", CHANGED)

    taken = shell.call("proposer", "plan", "save", changed)
    assert taken.returncode == 2
    assert "plan.id_taken" in taken.stderr
    assert "belongs to operator. Choose another id" in " ".join(taken.stderr.split())
    assert shell.refused("proposer", "plan", "start", "hand-on", code=5) == (
        "plan.unknown"
    )
    assert shell.refused("proposer", "plan", "show", "missing", code=5) == (
        "plan.unknown"
    )
    assert shell.refused(
        "operator", "plan", "show", "hand-on", "--revision", "2", code=5
    )
    assert shell.refused("operator", "plan", "start", "hand-on", code=2) == (
        "plan.invalid"
    )
