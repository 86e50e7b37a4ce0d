"""Dry runs in the runner: what they may touch, and what stops them."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.skills.domain.guard import Allow
from orchestration.skills.domain.outcome import DryRunResult
from orchestration.skills.execution import Runner
from orchestration.skills.execution.calls import (
    CallKind,
    DeadlinePassed,
    TouchedSomething,
    WireCall,
)
from tests.integration.runner_builders import a_runner, call_of, misfit


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    with a_runner(tmp_path / "home", monkeypatch) as made:
        yield made


def look(
    tmp_path: Path, how: str, allow: Allow | None = None, **params: Any
) -> WireCall:
    return call_of(
        "misfit.look@1",
        tmp_path,
        kind=CallKind.DRY_RUN,
        params={"how": how, **params},
        allow=allow or Allow(),
    )


@pytest.mark.parametrize(
    "how",
    ["write", "append", "remove", "rename", "mkdir", "chmod", "program", "shell", "fork",
     "link out of the folder"],
)  # fmt: skip
def test_a_dry_run_that_touches_something_is_stopped_and_flagged(runner, tmp_path, how):
    path = tmp_path / "outside"
    if how in {"remove", "rename", "chmod"}:
        path.write_text("as it was")
        path.chmod(0o600)

    answer = runner.complete(look(tmp_path, how, path=str(path)))

    assert isinstance(answer, TouchedSomething), answer
    assert answer.what
    if how in {"remove", "rename", "chmod"}:
        assert path.read_text() == "as it was"
        assert path.stat().st_mode & 0o777 == 0o600
    else:
        assert not path.exists()


def test_a_dry_run_reaches_the_network_only_where_that_is_allowed(runner, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        refused = runner.complete(look(tmp_path, "connect", port=port))
        allowed = runner.complete(
            look(tmp_path, "connect", Allow(network=True), port=port)
        )

    assert isinstance(refused, TouchedSomething)
    assert "network" in refused.what
    assert allowed == DryRunResult(summary="nothing to see")


def test_a_dry_run_may_write_to_its_own_folder_and_run_what_only_reads(
    runner, tmp_path
):
    own = runner.complete(look(tmp_path, "own folder"))
    git = runner.complete(look(tmp_path, "git", Allow(programs=("git rev-parse",))))
    other = runner.complete(look(tmp_path, "git", Allow(programs=("git log",))))

    assert own == git == DryRunResult(summary="nothing to see")
    assert other == TouchedSomething("a program (git rev-parse)")


def test_the_guard_is_off_again_after_a_dry_run(runner, tmp_path):
    path = tmp_path / "ready"
    runner.complete(look(tmp_path, "write", path=str(path)))

    with pytest.raises(DeadlinePassed):
        runner.complete(misfit(tmp_path, "hang", ready=str(path), deadline_s=1))

    assert path.read_text() == "ready"
