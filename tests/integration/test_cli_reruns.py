"""`execfabric run rerun` and `run compare`."""

from pathlib import Path
from typing import Any

import pytest

from execfabric.identity.models import User
from orchestration.runs.models import Run
from tests.builders import driven, end_dry_runs
from tests.integration.cli_builders import Shell, shell_at
from tests.integration.rerun_builders import effects, finished, with_approval

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "witness"),
]


@pytest.fixture
def shell(live_server: Any, tmp_path: Path) -> Shell:
    """Run the command against a server in this process."""
    return shell_at(live_server.url, tmp_path)


def test_a_run_is_run_again_and_compared(
    shell: Shell, worker: Any, tmp_path: Path
) -> None:
    proposer, operator = (
        User.objects.get(username=name) for name in ("proposer", "operator")
    )
    run = str(finished(effects(), proposer, operator, worker, word="old").pk)
    file = tmp_path / "inputs.json"
    file.write_text('{"word": "from a file"}')

    one = shell.json(
        "proposer", "run", "rerun", run, "--from", "third", "--input", "word=new"
    )
    other = shell.json("proposer", "run", "rerun", run, "--inputs", str(file))

    end_dry_runs()
    again = Run.objects.get(pk=one["run_id"])
    driven(with_approval(again, operator), worker)
    assert Run.objects.get(pk=other["run_id"]).inputs == {"word": "from a file"}
    shown = shell.call("proposer", "run", "get", one["run_id"]).stdout
    assert f"rerun of      {run}" in shown or run in shown
    assert "succeeded, reused" in shown
    compared = shell.json("proposer", "run", "compare", run, one["run_id"])
    assert [step["step"] for step in compared["steps"]] == ["second", "first", "third"]
    plain = shell.call("proposer", "run", "compare", run, one["run_id"]).stdout
    assert "input word: old -> new" in plain
    same = shell.call("proposer", "run", "compare", run, run).stdout
    assert "No differences." in same
    early = shell.call("proposer", "run", "rerun", other["run_id"])
    assert early.returncode == 1
    assert "has not ended" in early.stderr
    missing = shell.call("proposer", "run", "rerun", run, "--from", "fourth")
    assert missing.returncode == 5
