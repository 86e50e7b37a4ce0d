"""The supervisor with real processes: dummy services and real servers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from execfabric.local import postgres, processes
from execfabric.local.layout import DataDir, StartFailed, write_private
from execfabric.local.postgres import UNPRIVILEGED
from execfabric.local.service import Service, ServiceProcess
from execfabric.local.supervisor import (
    Stopped,
    Supervisor,
    end_orphans,
    read_status,
)
from tests.servers import begin_and_wait, eventually, spawn, start_servers

SLEEPER = "import time; print('ready', flush=True); time.sleep(600)"
PARENT = (
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)\n"
)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PARENT


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path / "data")
    made.prepare()
    return made


@pytest.fixture
def supervisor(data: DataDir):
    with data.log.open("ab", buffering=0) as log:
        made = Supervisor(data, log)
        yield made
        made.stop()


def dummy(name: str, code: str = SLEEPER, **fields) -> Service:
    options = {"ready": lambda process: process.printed("ready"), "grace": 1.0} | fields
    argv = [sys.executable, "-c", code]
    return Service(name=name, argv=argv, env=os.environ, **options)


def never(process: ServiceProcess) -> bool:
    return False


def record(data: DataDir, name: str, pid: int, started: float) -> None:
    """Write the status file as a supervisor does."""
    row = {"pid": pid, "started": started, "state": "ready"}
    write_private(data.run / "status.json", json.dumps({name: row}))


def watch_until(supervisor: Supervisor, true: Callable[[], bool]) -> None:
    def check() -> bool:
        supervisor.check()
        return true()

    assert eventually(check)


def log_of(data: DataDir) -> str:
    return data.log.read_text(encoding="utf-8")


def test_services_stop_in_the_reverse_order_of_their_start(supervisor, data) -> None:
    for name in ("first", "second", "third"):
        supervisor.begin(dummy(name))

    supervisor.stop()

    stopped = [line for line in log_of(data).splitlines() if line.endswith(" stopped")]
    assert [line.split()[-2] for line in stopped] == ["third", "second", "first"]


@pytest.mark.parametrize(
    "code", [pytest.param(PARENT, id="obeys"), pytest.param(STUBBORN, id="ignores")]
)
def test_a_stop_leaves_no_process_of_the_service(supervisor, code: str) -> None:
    [running] = supervisor.begin(dummy("parent", code))
    family = processes.family(running.pid)

    supervisor.stop()

    assert len(family) == 2
    assert not any(member.is_running() for member in family)


def test_a_crashed_service_is_restarted_with_growing_pauses(
    supervisor, data: DataDir
) -> None:
    marks = data.root / "marks"
    code = f"open({str(marks)!r}, 'a').write('x'); print('ready', flush=True); import time; time.sleep(.2)"
    supervisor.begin(dummy("crasher", code))

    watch_until(supervisor, lambda: marks.read_text() == "xxx")

    text = log_of(data)
    assert "crasher is down (exit status 0); restart in 0.5 s" in text
    assert "crasher is down (exit status 0); restart in 1 s" in text
    assert read_status(data)["crasher"]["restarts"] == 2


def test_a_service_that_cannot_be_killed_does_not_end_the_others(
    supervisor, monkeypatch
) -> None:
    crashing, steady = supervisor.begin(
        dummy("crashing", SLEEPER), dummy("steady", SLEEPER)
    )
    first = crashing.child
    os.kill(crashing.pid, signal.SIGKILL)

    def refused() -> int:
        raise psutil.AccessDenied(first.pid)

    with monkeypatch.context() as patched:
        patched.setattr(crashing, "kill", refused)
        watch_until(supervisor, lambda: crashing.restarts == 1)

    first.wait()
    assert crashing.alive
    assert steady.alive


def test_a_killed_service_is_restarted_and_its_children_are_gone(
    supervisor, data: DataDir
) -> None:
    [running] = supervisor.begin(dummy("parent", PARENT))
    pid, family = running.pid, processes.family(running.pid)

    os.kill(pid, signal.SIGKILL)
    watch_until(
        supervisor,
        lambda: (
            read_status(data)["parent"]["restarts"] == 1
            and read_status(data)["parent"]["state"] == "ready"
        ),
    )

    assert len(family) == 2
    assert not any(member.is_running() for member in family)
    assert read_status(data)["parent"]["pid"] != pid


def test_a_service_that_ends_before_it_is_ready_fails_the_start(supervisor) -> None:
    with pytest.raises(StartFailed, match="broken: it ended with exit status 3"):
        supervisor.begin(dummy("broken", "import sys; sys.exit(3)"))


def test_a_service_that_never_gets_ready_fails_the_start_and_is_killed(
    supervisor,
) -> None:
    mute = dummy("mute", "import time; time.sleep(600)", ready=never, ready_within=0.3)
    before = set(psutil.Process().children(recursive=True))

    with pytest.raises(StartFailed, match=r"mute: it was not ready after 0\.3 s"):
        supervisor.begin(mute)

    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_missing_program_is_named(supervisor) -> None:
    absent = Service(
        name="absent", argv=["/nonexistent/program"], env={}, ready=never, tied=False
    )

    with pytest.raises(StartFailed, match="absent: '/nonexistent/program': no such"):
        supervisor.begin(absent)


def test_a_command_that_fails_is_named_with_its_exit(supervisor) -> None:
    with pytest.raises(StartFailed, match="`migrate` failed with exit status 7"):
        supervisor.complete("migrate", [sys.executable, "-c", "exit(7)"], {})


def test_a_stop_request_ends_a_start(supervisor) -> None:
    threading.Timer(0.3, supervisor.request_stop).start()

    with pytest.raises(Stopped):
        supervisor.begin(dummy("mute", "import time; time.sleep(600)"))


def test_orphans_of_a_killed_supervisor_are_ended_by_the_next(data: DataDir) -> None:
    running = ServiceProcess(dummy("parent", PARENT, tied=False))
    running.await_ready()
    family = processes.family(running.pid)
    record(data, "parent", running.pid, running.created)

    reaper = threading.Thread(target=running.child.wait)
    reaper.start()
    ended = end_orphans(data)
    reaper.join()
    running.kill()

    assert ended == ["parent"]
    assert len(family) == 2
    assert not any(member.is_running() for member in family)
    assert read_status(data) == {}


@pytest.mark.parametrize("reaped", [True, False])
def test_children_of_an_ended_orphan_are_ended(data: DataDir, reaped: bool) -> None:
    running = ServiceProcess(dummy("parent", PARENT, tied=False))
    running.await_ready()
    family = processes.family(running.pid)
    record(data, "parent", running.pid, running.created)
    os.kill(running.pid, signal.SIGKILL)
    if reaped:
        running.child.wait()

    assert end_orphans(data) == ["parent"]

    running.child.wait()
    assert not any(member.is_running() for member in family)


def test_another_process_with_a_recorded_pid_is_not_touched(data: DataDir) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.DEVNULL
    ) as it:
        earlier = psutil.Process(it.pid).create_time() - 3600
        record(data, "web", it.pid, earlier)

        assert end_orphans(data) == []
        assert it.poll() is None
        it.kill()


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_a_service_spawned_for_a_test_leaves_no_open_file(end: str) -> None:
    spawned = spawn("keeper", {})
    open_now = {file.path for file in psutil.Process().open_files()}
    assert str(spawned.log) in open_now

    getattr(spawned, end)()

    open_now = {file.path for file in psutil.Process().open_files()}
    assert str(spawned.log) not in open_now
    shutil.rmtree(spawned.log.parent)


def test_two_data_directories_serve_side_by_side_on_long_paths(tmp_path: Path) -> None:
    one = start_servers(tmp_path / ("long-" * 30) / "one")
    other = start_servers(tmp_path / ("long path " * 15) / "other")
    try:
        for found in (one.endpoints, other.endpoints):
            with psycopg.connect(found.database_url) as connection:
                query = "SELECT current_user, current_setting('server_encoding')"
                assert connection.execute(query).fetchone() == (
                    "execfabric_app",
                    "UTF8",
                )
            with redis.Redis.from_url(found.redis_url) as client:
                assert client.ping()
        assert one.endpoints.redis_url != other.endpoints.redis_url
    finally:
        one.stop()
        other.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory):
    started = start_servers(tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("execfabric_app:", "execfabric_app:wrong", id="wrong password"),
        pytest.param("/execfabric", "/warehouse", id="database of another role"),
    ],
)
def test_postgres_refuses(pair, old: str, new: str) -> None:
    url = new.join(pair.endpoints.database_url.rsplit(old, 1))

    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_valkey_refuses_who_has_no_password(pair) -> None:
    port = pair.endpoints.redis_url.rsplit(":", 1)[1].removesuffix("/0")

    with (
        redis.Redis(port=int(port)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_the_warehouse_takes_the_dsn_that_lies_among_the_secrets(pair) -> None:
    secret = pair.data.secrets / "warehouse-dsn"

    with psycopg.connect(secret.read_text()) as connection:
        connection.execute("CREATE TABLE facts (id int)")
        connection.rollback()
    assert secret.stat().st_mode & 0o077 == 0


def test_data_outlives_a_restart_of_the_servers(tmp_path: Path) -> None:
    first = start_servers(tmp_path / "data")
    with psycopg.connect(first.endpoints.owner_database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()

    second = start_servers(tmp_path / "data")
    with psycopg.connect(second.endpoints.owner_database_url) as connection:
        row = connection.execute("SELECT answer FROM kept").fetchone()
    second.stop()

    assert row == (42,)


def test_a_cluster_of_another_version_is_refused_by_name(data: DataDir) -> None:
    data.postgres.mkdir()
    (data.postgres / "PG_VERSION").write_text("16\n")

    with pytest.raises(StartFailed, match=r"created by Postgres 16\. Dump"):
        postgres.start(data, begin_and_wait)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_cluster_of_another_user_is_refused_by_name(data: DataDir) -> None:
    postgres.initialise(data, durable=False)
    os.chown(data.postgres, 12345, -1)

    with pytest.raises(StartFailed, match="belongs to user 12345"):
        postgres.start(data, begin_and_wait)


def test_a_stale_pid_file_of_postgres_does_not_prevent_the_start(
    data: DataDir,
) -> None:
    """As after a power cut, or in a new container, where pids start again."""
    postgres.initialise(data, durable=False)
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    running: list[ServiceProcess] = []

    def begin(wanted: Service) -> None:
        running.append(begin_and_wait(wanted))

    with subprocess.Popen(["sleep", "600"], user=user) as stranger:
        file = data.postgres / "postmaster.pid"
        file.write_text(f"{stranger.pid}\n{data.postgres}\n1700000000\n5432\n\n\n\n")
        try:
            postgres.start(data, begin, durable=False)
        finally:
            for server in running:
                server.stop()
            stranger.kill()

    assert len(running) == 1


HANDS_ON = (
    "import os, time\n"
    "print('ready', flush=True)\n"
    "until = time.monotonic() + 10\n"
    "while time.monotonic() < until:\n"
    "    time.sleep(.005)\n"
    "    if os.fork():\n"
    "        os._exit(0)\n"
)
"""One process at a time, but every five milliseconds another one."""


def test_a_process_that_replaces_itself_is_killed() -> None:
    running = ServiceProcess(dummy("hands on", HANDS_ON))
    assert eventually(lambda: running.printed("ready"))

    running.kill()

    assert eventually(lambda: processes.family(running.pid) == [], within=4)
