"""How calls and runners end: crashes, deadlines, kills, and what is left of them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.skills.domain.outcome import Succeeded
from orchestration.skills.execution import Runner
from orchestration.skills.execution.calls import DeadlinePassed, Log, RunnerDied
from orchestration.skills.execution.runner import ROOT
from orchestration.skills.installed import EXTRA
from tests.integration.runner_builders import (
    a_runner,
    alive,
    call_of,
    living_below,
    misfit,
    program_of,
)


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    with a_runner(tmp_path / "home", monkeypatch) as made:
        yield made


def test_a_crash_is_told_after_the_last_words(runner, tmp_path):
    runner.begin(misfit(tmp_path, "die"))

    first = runner.poll(10)

    assert first == Log("last words\n")
    with pytest.raises(RunnerDied, match="code 3"):
        runner.poll(10)
    assert runner.complete(call_of("noop.pass@1", tmp_path)) == Succeeded()


def test_a_call_past_its_deadline_is_killed_with_all_it_started(runner, tmp_path):
    ready = tmp_path / "ready"
    pid = program_of(runner)
    runner.begin(misfit(tmp_path, "hang", ready=str(ready)))
    while not ready.exists():
        assert runner.poll(0.02) is None
    below = living_below(pid)

    runner.kill()

    assert len(below) == 2
    assert not [child for child in [pid, *below] if Path(f"/proc/{child}").exists()]


def test_complete_raises_at_the_deadline_and_the_next_call_works(runner, tmp_path):
    ready = str(tmp_path / "ready")

    with pytest.raises(DeadlinePassed):
        runner.complete(misfit(tmp_path, "hang", ready=ready, deadline_s=2))

    assert runner.complete(call_of("noop.pass@1", tmp_path)) == Succeeded()


def test_what_a_call_leaves_running_is_ended_before_its_answer(runner, tmp_path):
    pid = program_of(runner)
    runner.complete(call_of("noop.pass@1", tmp_path))
    before = living_below(pid)

    answer = runner.complete(misfit(tmp_path, "orphan"))

    assert isinstance(answer, Succeeded)
    assert living_below(pid) == before


def test_nothing_is_left_when_the_worker_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv(EXTRA, "tests.skill_lab")
    ready = tmp_path / "ready"
    worker = f"""
import time
from pathlib import Path
from orchestration.skills.execution.calls import WireCall
from orchestration.skills.execution import Runner
runner = Runner(home=Path({str(tmp_path)!r}))
runner.begin(WireCall("misfit.run@1", {{"how": "hang", "ready": {str(ready)!r}}},
    Path({str(tmp_path)!r}) / "work", "key", 60))
time.sleep(60)
"""
    program = subprocess.Popen([sys.executable, "-c", worker], cwd=ROOT)
    until = time.monotonic() + 10
    while not ready.exists() and time.monotonic() < until:
        time.sleep(0.02)
    below = living_below(program.pid)

    program.send_signal(signal.SIGKILL)
    program.wait()

    assert len(below) == 3
    until = time.monotonic() + 5
    while time.monotonic() < until and any(map(alive, below)):
        time.sleep(0.02)
    assert not [pid for pid in below if alive(pid)]


def test_killing_an_idle_runner_leaves_no_process_and_no_descriptor(runner, tmp_path):
    before = len([*Path("/proc/self/fd").iterdir()])
    runner.complete(call_of("noop.pass@1", tmp_path))
    pid = program_of(runner)
    below = living_below(pid)

    runner.kill()

    assert not any(map(alive, [pid, *below]))
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_guardian_that_does_not_answer_is_ended_all_the_same(
    runner, tmp_path, monkeypatch
):
    monkeypatch.setattr("orchestration.skills.execution.runner.END_S", 0.2)
    pid = program_of(runner)
    runner.complete(call_of("noop.pass@1", tmp_path))
    below = living_below(pid)
    os.kill(pid, signal.SIGSTOP)

    runner.kill()

    assert below
    assert not any(map(alive, [pid, *below]))


def test_a_command_that_is_killed_with_its_runner_leaves_nothing(runner, tmp_path):
    params = {"argv": ["sh", "-c", "echo up; setsid sleep 300 & sleep 300"]}
    call = call_of("command.run@1", tmp_path, params=params)
    call = replace(call, config={"allow_unsandboxed": True})
    pid = program_of(runner)
    runner.begin(call)
    assert runner.poll(10) == Log("up\n")
    below = living_below(pid)

    runner.kill()

    assert len(below) > 2
    assert not any(map(alive, [pid, *below]))


def test_a_runner_outlives_the_thread_that_started_it(runner, tmp_path):
    thread = threading.Thread(target=runner.start)
    thread.start()
    thread.join()
    pid = program_of(runner)
    time.sleep(0.2)

    assert runner.complete(call_of("noop.pass@1", tmp_path)) == Succeeded()
    assert program_of(runner) == pid
