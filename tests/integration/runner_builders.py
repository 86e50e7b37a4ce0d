"""Runners and calls for the tests of the runner: real child processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestration.skills.execution import Runner, descendants
from orchestration.skills.execution.calls import WireCall
from orchestration.skills.installed import EXTRA


@contextmanager
def a_runner(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """Return a runner of the laboratory, with secrets that it must not see."""
    monkeypatch.setenv(EXTRA, "tests.skill_lab")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/db")
    monkeypatch.setenv("SECRET_KEY", "the signing key")
    made = Runner(home=home)
    try:
        yield made
    finally:
        made.kill()


def call_of(handler: str, tmp_path: Path, **fields: Any) -> WireCall:
    """Build a call of a handler with default values."""
    given: dict[str, Any] = {
        "params": {},
        "workdir": tmp_path / "work",
        "idempotency_key": "key",
        "deadline_s": 20.0,
    } | fields
    return WireCall(handler=handler, **given)


def misfit(tmp_path: Path, how: str, **params: Any) -> WireCall:
    """Build a call of a handler that misbehaves in the named way."""
    deadline_s = params.pop("deadline_s", 20.0)
    params = {"how": how, **params}
    return call_of("misfit.run@1", tmp_path, params=params, deadline_s=deadline_s)


def log_of(runner: Runner, call: WireCall, **given: Any) -> tuple[str, Any]:
    """Return what a call printed, and its answer."""
    said: list[str] = []
    answer = runner.complete(call, on_log=said.append, **given)
    return "".join(said), answer


def living_below(pid: int) -> list[int]:
    """Return all descendants of a process."""
    return descendants.of(pid)


def program_of(runner: Runner) -> int:
    """Return the process of the runner; start it if needed."""
    runner.start()
    assert runner._program is not None
    return runner._program.pid


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
