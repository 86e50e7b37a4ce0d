"""Every handler runs within limits, for the whole call and for that call only."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execfabric.lib import clock
from orchestration.skills.domain.limits import Limits
from orchestration.skills.domain.outcome import Failed, Succeeded
from orchestration.skills.execution import Runner
from orchestration.skills.execution.calls import LimitPassed, NotStarted, WireCall
from tests.integration.runner_builders import (
    a_runner,
    alive,
    call_of,
    living_below,
    program_of,
)
from tests.servers import eventually


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    with a_runner(tmp_path / "home", monkeypatch) as made:
        yield made


def bomb(tmp_path: Path, how: str, limits: Limits, **params: Any) -> WireCall:
    given = {"how": how, **params}
    return call_of("misfit.run@1", tmp_path, params=given, limits=limits)


BOMBS = [
    ("memory", {"mb": 900}, Limits(memory_mb=100), "limits.memory"),
    ("processor", {}, Limits(cpu_s=1), "limits.cpu"),
    ("programs", {"count": 20}, Limits(processes=10), "limits.processes"),
    ("one file", {"mb": 40}, Limits(file_mb=10), "limits.file_size"),
    ("many files", {"count": 30}, Limits(disk_mb=10), "limits.disk"),
    ("many files", {"count": 30}, Limits(files=10), "limits.disk"),
]


@pytest.mark.parametrize(
    ("how", "params", "limits", "code"),
    BOMBS,
    ids=["memory", "processor", "programs", "one file", "disk", "number of files"],
)
def test_a_call_that_passes_a_limit_is_stopped_and_the_limit_named(
    runner, tmp_path, how, params, limits, code
):
    answer = runner.complete(bomb(tmp_path, how, limits, **params))

    assert isinstance(answer, LimitPassed)
    assert answer.code == code
    assert str(tmp_path) not in answer.message


def test_a_limit_of_one_call_does_not_hold_the_next(runner, tmp_path):
    for _ in range(3):
        tight = bomb(tmp_path, "memory", Limits(memory_mb=50, file_mb=1), mb=200)
        assert isinstance(runner.complete(tight), LimitPassed)
        roomy = bomb(tmp_path, "memory", Limits(memory_mb=400), mb=200)
        assert isinstance(runner.complete(roomy), Succeeded)
        large = bomb(tmp_path, "one file", Limits(file_mb=20), mb=10)
        assert isinstance(runner.complete(large), Succeeded)
        (large.workdir / "big").unlink()


def test_many_calls_one_after_the_other_do_not_add_up(runner, tmp_path):
    limits = Limits(memory_mb=120)

    for _ in range(20):
        answer = runner.complete(bomb(tmp_path, "memory", limits, mb=80))
        assert isinstance(answer, Succeeded)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_the_guardian_ends_a_call_at_its_deadline_by_itself(
    runner, tmp_path, is_frozen
):
    """The worker may be frozen, and then does not look at its clock; the runner too.

    The deadline is that of the claim, however late the call was handed over.
    """
    ready = tmp_path / "ready"
    # Its start takes as long as such a deadline.
    runner.complete(call_of("noop.pass@1", tmp_path))
    pid = program_of(runner)
    call = call_of(
        "misfit.run@1",
        tmp_path,
        params={"how": "hang", "ready": str(ready)},
        deadline_s=600.0,
        until=clock.since_boot() + 3.0,
    )
    runner.begin(call)
    assert eventually(ready.exists, within=30)
    below = living_below(pid)
    if is_frozen:
        for child in below:
            os.kill(child, signal.SIGSTOP)

    assert eventually(lambda: not any(map(alive, [pid, *below])), within=60)

    answer = runner.poll(5)
    assert isinstance(answer, LimitPassed)
    assert answer.code == "limits.time"


def test_a_call_that_comes_too_late_is_not_started(runner, tmp_path):
    ready = tmp_path / "ready"
    params = {"how": "hang", "ready": str(ready)}
    call = call_of("misfit.run@1", tmp_path, params=params)

    answer = runner.complete(replace(call, valid_until=clock.since_boot()))

    assert answer == NotStarted()
    assert not ready.exists()
    assert runner.complete(call_of("noop.pass@1", tmp_path)) == Succeeded()


def test_a_handler_cannot_pretend_that_it_passed_a_limit(runner, tmp_path, monkeypatch):
    pid = program_of(runner)
    runner.begin(
        call_of(
            "misfit.run@1",
            tmp_path,
            params={"how": "hang", "ready": str(tmp_path / "ready")},
        )
    )
    until = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(pid, signal.SIGTERM)

    with pytest.raises(Exception, match="The runner ended"):
        runner.poll(10)


REPEAT = "SELECT repeat('abcdefgh', 100) AS a FROM range(1000000000)"
LARGE = "SELECT length(repeat('x', 4000000000)) AS a"


@pytest.mark.parametrize(
    ("handler", "params", "codes"),
    [
        (
            "report.render@1",
            {"title": "T", "rows": [], "template": "{{ 'x'*(4*10**9) }}"},
            {"limits.memory"},
        ),
        (
            "data.query@1",
            {"sources": {}, "sql": LARGE},
            {"limits.memory", "data.memory"},
        ),
        (
            "data.query@1",
            {"sources": {}, "sql": REPEAT},
            {"limits.file_size"},
        ),
    ],
    ids=["report", "query in memory", "query on disk"],
)
def test_a_step_of_low_risk_cannot_take_the_host_down(
    runner, tmp_path, handler, params, codes
):
    limits = Limits(memory_mb=600, file_mb=50, disk_mb=200)
    # A slow disk may take long to reach the limit.
    call = call_of(handler, tmp_path, params=params, limits=limits, deadline_s=120.0)

    answer = runner.complete(call)

    assert isinstance(answer, LimitPassed | Failed)
    assert answer.code in codes
    assert str(tmp_path) not in answer.message
