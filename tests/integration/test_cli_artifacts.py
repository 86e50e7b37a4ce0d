"""`execfabric artifact` and `execfabric run artifacts`: find, show, archive and fork."""

from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from execfabric.identity.models import User
from orchestration.runs.pages import artifact_pages
from tests.builders import approved, driven, plan, step
from tests.integration.cli_builders import Shell, shell_at

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def shell(live_server: Any, tmp_path: Path) -> Shell:
    """Run the command against a server in this process."""
    return shell_at(live_server.url, tmp_path)


def made(text: str, worker: Any) -> str:
    proposer, operator = (
        User.objects.get(username=name) for name in ("proposer", "operator")
    )
    copy = {"text": text, "of": "$make.files.note"}
    steps = (
        step("make", "write", params={"text": text}),
        step("copy", "write", params=copy, after="make"),
    )
    return str(driven(approved(plan(*steps), proposer, operator), worker).pk)


def test_artifacts_are_found_shown_archived_and_forked(
    shell: Shell, worker: Any
) -> None:
    made("one", worker)
    run = made("two", worker)

    [row] = shell.json("proposer", "artifact", "list", "make")
    assert (row["name"], row["current"], row["plan"]) == ("make/note", 2, "lab-plan")
    assert len(shell.json("proposer", "artifact", "list", "--plan", "lab-plan")) == 2
    shown = shell.json("proposer", "artifact", "show", row["id"])
    new, old = shown["versions"]
    assert (new["supersedes"], new["run_id"]) == (old["id"], run)
    assert [one["artifact"] for one in shown["lineage"]["made"]] == ["copy/note"]
    plain = shell.call("proposer", "artifact", "show", row["id"]).stdout
    assert "superseded" in plain
    assert "used for copy/note 2" in plain
    assert "make/note" in shell.call("proposer", "artifact", "list").stdout

    tracked = shell.json("proposer", "run", "artifacts", run)
    assert (tracked["done"], tracked["total"]) == (2, 2)
    assert "2 of 2 done" in shell.call("proposer", "run", "artifacts", run).stdout

    forked = shell.json(
        *("proposer", "artifact", "fork", row["id"]),
        *("--name", "for the board", "--version", old["id"]),
    )
    assert forked["versions"][0]["forked_from"] == old["id"]
    archived = shell.json(
        "proposer", "artifact", "archive", row["id"], "--reason", "Wrong."
    )
    assert (archived["id"], archived["state"]) == (new["id"], "archived")
    again = ("artifact", "archive", row["id"], "--version", new["id"], "--reason", "x")
    assert shell.refused("operator", *again, code=1) == "state.illegal_transition"
    unknown = ("artifact", "show", str(uuid4()))
    assert shell.refused("proposer", *unknown, code=5) == "artifact.chain_unknown"
    assert shell.refused("stranger", "artifact", "show", row["id"], code=5)
    assert shell.refused("agent", *again, code=4)


def test_a_list_that_is_not_whole_says_so(
    shell: Shell, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("one", worker)
    run = made("two", worker)
    [row] = shell.json("proposer", "artifact", "list", "make")

    def notes() -> list[str]:
        shown = shell.call("proposer", "artifact", "show", row["id"]).stdout
        shown += shell.call("proposer", "run", "artifacts", run).stdout
        return [
            line for line in shown.splitlines() if "listed" in line or "more" in line
        ]

    assert notes() == []
    monkeypatch.setattr(artifact_pages, "VERSIONS", 1)
    monkeypatch.setattr(artifact_pages, "LINKED", 0)
    # The package has the router by the name of its module.
    monkeypatch.setattr(import_module("orchestration.runs.api.artifacts"), "ALL", 1)

    assert notes() == [
        "only the newest 1 versions are listed",
        "more sources or uses are not listed",
        "and 1 more",
    ]
