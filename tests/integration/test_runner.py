"""The runner as its worker sees it: real child processes, real signals."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execfabric.lib.masking import MASK
from orchestration.skills import descendants
from orchestration.skills.builtin import EXTRA
from orchestration.skills.domain.guard import Allow
from orchestration.skills.domain.outcome import DryRun, Failed, Succeeded
from orchestration.skills.execution import (
    ROOT,
    CallKind,
    DeadlinePassed,
    Log,
    Runner,
    RunnerBusy,
    RunnerDied,
    TouchedSomething,
    WireCall,
    discard,
)
from tests.skill_calls import as_file, reference


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    monkeypatch.setenv(EXTRA, "tests.skill_lab")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/db")
    monkeypatch.setenv("SECRET_KEY", "the signing key")
    made = Runner(home=tmp_path / "home")
    yield made
    made.kill()


def call_of(handler: str, tmp_path: Path, **fields: Any) -> WireCall:
    given: dict[str, Any] = {
        "params": {},
        "workdir": tmp_path / "work",
        "idempotency_key": "key",
        "deadline_s": 20.0,
    } | fields
    return WireCall(handler=handler, **given)


def misfit(tmp_path: Path, how: str, **params: Any) -> WireCall:
    deadline_s = params.pop("deadline_s", 20.0)
    params = {"how": how, **params}
    return call_of("misfit.run@1", tmp_path, params=params, deadline_s=deadline_s)


def log_of(runner: Runner, call: WireCall, **given: Any) -> tuple[str, Any]:
    said: list[str] = []
    answer = runner.complete(call, on_log=said.append, **given)
    return "".join(said), answer


def living_below(pid: int) -> list[int]:
    return descendants.of(pid)


def program_of(runner: Runner) -> int:
    runner.start()
    assert runner._program is not None
    return runner._program.pid


def test_a_call_answers_with_its_outcome_and_makes_no_folder_it_does_not_need(
    runner, tmp_path
):
    call = call_of("noop.pass@1", tmp_path, params={"value": {"deep": [1, "ü"]}})

    answer = runner.complete(call)

    assert answer == Succeeded(output={"value": {"deep": [1, "ü"]}})
    assert not call.workdir.exists()


def test_an_idle_round_trip_costs_well_under_a_millisecond(runner, tmp_path):
    call = call_of("noop.pass@1", tmp_path)
    runner.warm(["noop"])
    took = []

    for _ in range(300):
        began = time.perf_counter()
        runner.complete(call)
        took.append(time.perf_counter() - began)

    assert sorted(took)[len(took) // 2] < 0.001


def test_the_handler_sees_no_secret_of_the_worker_and_no_django(runner, tmp_path):
    call = call_of("misfit.return@1", tmp_path, params={"how": "environment"})

    answer = runner.complete(call)

    assert set(answer.output["environment"]) <= {
        "HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "SSL_CERT_DIR",
        "SSL_CERT_FILE", "TMPDIR", "TZ", EXTRA,
    }  # fmt: skip
    assert not {"django", "celery", "psycopg"} & set(answer.output["modules"])


def test_an_exception_becomes_a_failure_without_the_values_of_locals(runner, tmp_path):
    said, answer = log_of(runner, misfit(tmp_path, "raise", message="no such thing"))

    assert answer == Failed("skill.raised", "RuntimeError: no such thing")
    assert "RuntimeError" in said
    assert "the value of a local" not in answer.message
    assert runner.complete(call_of("noop.pass@1", tmp_path)) == Succeeded()


def test_a_handler_that_exits_fails_and_the_runner_lives_on(runner, tmp_path):
    pid = program_of(runner)

    answer = runner.complete(misfit(tmp_path, "exit"))

    assert answer == Failed("skill.raised", "SystemExit: 4")
    assert program_of(runner) == pid


def test_an_unknown_handler_is_named(runner, tmp_path):
    answer = runner.complete(call_of("nothing.here@9", tmp_path))

    assert answer == Failed(
        "skill.no_handler", "This worker has no handler nothing.here@9."
    )


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param("none", "skill.output_invalid", id="no outcome"),
        pytest.param("set", "skill.output_invalid", id="not JSON"),
        pytest.param("nan", "skill.output_invalid", id="not a JSON number"),
        pytest.param("large", "skill.output_too_large", id="5 MiB"),
    ],
)
def test_an_answer_that_cannot_be_sent_is_a_failure(runner, tmp_path, how, code):
    call = call_of("misfit.return@1", tmp_path, params={"how": how})

    answer = runner.complete(call)

    assert isinstance(answer, Failed)
    assert answer.code == code


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
        runner.complete(misfit(tmp_path, "hang", ready=ready, deadline_s=0.5))

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
from orchestration.skills.execution import Runner, WireCall
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
    while time.monotonic() < until and any(map(_alive, below)):
        time.sleep(0.02)
    assert not [pid for pid in below if _alive(pid)]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_flood_is_cut_counted_and_said(runner, tmp_path):
    said, answer = log_of(runner, misfit(tmp_path, "flood", lines=30_000))

    assert isinstance(answer, Succeeded)
    assert runner.log_dropped == 3_000_000 - 1024 * 1024
    assert said.endswith(f"[{runner.log_dropped} bytes of output were not kept]\n")
    assert len(said) < 1024 * 1024 + 100


def test_a_flood_does_not_hold_up_the_caller(runner, tmp_path):
    runner.begin(misfit(tmp_path, "flood", lines=3_000_000))
    waits = []

    for _ in range(50):
        began = time.monotonic()
        runner.poll(0.01)
        waits.append(time.monotonic() - began)

    assert max(waits) < 0.5


def test_a_second_call_has_to_wait_for_the_first(runner, tmp_path):
    runner.begin(misfit(tmp_path, "hang", ready=str(tmp_path / "ready")))

    with pytest.raises(RunnerBusy):
        runner.begin(call_of("noop.pass@1", tmp_path))


def test_secrets_come_by_reference_and_never_come_back(runner, tmp_path):
    token = "t0p/secret value"
    params = {
        "how": "say",
        "texts": [f"a {token[:7]}", f"{token[7:]} z", " t0p%2Fsecret%20val", "ue end"],
        "token": {"$secret": "token"},
        "nested": [{"again": {"$secret": "token"}}],
    }
    call = call_of("misfit.run@1", tmp_path, params=params)

    said, answer = log_of(runner, call, secrets={"token": token}.__getitem__)

    assert said == f"a {MASK} z {MASK} end"
    assert answer.output["token"] == MASK
    assert answer.output["nested"] == [{"again": MASK}]


def test_the_password_inside_an_address_is_masked_too(runner, tmp_path):
    dsn = "postgresql://loader:p%40ssword@db.example/warehouse"
    params = {
        "how": "raise",
        "message": "password p@ssword is wrong",
        "dsn": {"$secret": "d"},
    }
    call = call_of("misfit.run@1", tmp_path, params=params)

    answer = runner.complete(call, secrets={"d": dsn}.__getitem__)

    assert answer.message == f"RuntimeError: password {MASK} is wrong"


def test_a_secret_that_may_not_be_had_stops_the_call_before_it_starts(runner, tmp_path):
    call = call_of("noop.pass@1", tmp_path, params={"value": {"$secret": "token"}})

    with pytest.raises(LookupError, match="no secret token"):
        runner.complete(call)


def test_files_come_by_digest_and_go_out_as_paths(runner, tmp_path):
    source = as_file(tmp_path / "sales.csv", "a,b\n1,2\n")
    params = {
        "sources": {"sales": reference(source)},
        "sql": "SELECT a + b AS c FROM sales",
    }
    call = call_of("data.query@1", tmp_path, params=params)

    answer = runner.complete(call, paths={source.sha256: source.path})

    assert isinstance(answer, Succeeded)
    result = answer.files["result"]
    assert isinstance(result, Path)
    assert result.read_text() == "c\n3\n"
    discard(call.workdir)
    assert not call.workdir.exists()


def test_a_file_that_was_not_handed_over_is_named(runner, tmp_path):
    source = as_file(tmp_path / "sales.csv", "a\n1\n")
    call = call_of("noop.pass@1", tmp_path, params={"value": reference(source)})

    answer = runner.complete(call)

    assert answer == Failed(
        "skill.file_missing", "The file sales.csv was not handed to the runner."
    )


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
    assert allowed == DryRun(summary="nothing to see")


def test_a_dry_run_may_write_to_its_own_folder_and_run_what_only_reads(
    runner, tmp_path
):
    own = runner.complete(look(tmp_path, "own folder"))
    git = runner.complete(look(tmp_path, "git", Allow(programs=("git rev-parse",))))
    other = runner.complete(look(tmp_path, "git", Allow(programs=("git log",))))

    assert own == git == DryRun(summary="nothing to see")
    assert other == TouchedSomething("a program (git rev-parse)")


def test_the_guard_is_off_again_after_a_dry_run(runner, tmp_path):
    path = tmp_path / "ready"
    runner.complete(look(tmp_path, "write", path=str(path)))

    with pytest.raises(DeadlinePassed):
        runner.complete(misfit(tmp_path, "hang", ready=str(path), deadline_s=1))

    assert path.read_text() == "ready"


def test_killing_an_idle_runner_leaves_no_process_and_no_descriptor(runner, tmp_path):
    before = len([*Path("/proc/self/fd").iterdir()])
    runner.complete(call_of("noop.pass@1", tmp_path))
    pid = program_of(runner)
    below = living_below(pid)

    runner.kill()

    assert not any(map(_alive, [pid, *below]))
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_guardian_that_does_not_answer_is_ended_all_the_same(
    runner, tmp_path, monkeypatch
):
    monkeypatch.setattr("orchestration.skills.execution.END_S", 0.2)
    pid = program_of(runner)
    runner.complete(call_of("noop.pass@1", tmp_path))
    below = living_below(pid)
    os.kill(pid, signal.SIGSTOP)

    runner.kill()

    assert below
    assert not any(map(_alive, [pid, *below]))


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
    assert not any(map(_alive, [pid, *below]))


def test_a_runner_outlives_the_thread_that_started_it(runner, tmp_path):
    thread = threading.Thread(target=runner.start)
    thread.start()
    thread.join()
    pid = program_of(runner)
    time.sleep(0.2)

    assert runner.complete(call_of("noop.pass@1", tmp_path)) == Succeeded()
    assert program_of(runner) == pid
