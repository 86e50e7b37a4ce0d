"""The supervisor with real processes: dummy parts, real servers, and `up` as a command."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from execfabric.local import leftovers, processes, servers
from execfabric.local import part as parts
from execfabric.local.errors import StartFailed, Stopped
from execfabric.local.journal import Journal
from execfabric.local.layout import DataDir
from execfabric.local.part import Part, Running
from execfabric.local.postgres import UNPRIVILEGED, Postgres
from execfabric.local.supervisor import Supervisor
from tests.servers import eventually, spawn, start_servers

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
    journal = Journal(data.log)
    made = Supervisor(data, journal)
    yield made
    made.stop()
    journal.close()


def dummy(name: str, code: str = SLEEPER, **fields) -> Part:
    given = {"ready": lambda running: running.said("ready"), "grace": 1.0} | fields
    return Part(name=name, argv=[sys.executable, "-c", code], env=os.environ, **given)


def never(running: Running) -> bool:
    return False


def watch_until(supervisor: Supervisor, true: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    supervisor.watch(until=lambda: true() or time.monotonic() > until)
    assert true()


def log_of(data: DataDir) -> str:
    return data.log.read_text(encoding="utf-8")


def test_parts_stop_in_the_reverse_order_of_their_start(supervisor, data) -> None:
    for name in ("first", "second", "third"):
        supervisor.begin(dummy(name))

    supervisor.stop()

    stopped = [line for line in log_of(data).splitlines() if line.endswith(" stopped")]
    assert [line.split()[-2] for line in stopped] == ["third", "second", "first"]


@pytest.mark.parametrize(
    "code", [pytest.param(PARENT, id="obeys"), pytest.param(STUBBORN, id="ignores")]
)
def test_a_stop_leaves_no_process_of_the_part(supervisor, code: str) -> None:
    running = supervisor.begin(dummy("parent", code))
    family = processes.family(running.identity)

    supervisor.stop()

    assert len(family) == 2
    assert not any(member.is_running() for member in family)


def test_a_part_that_crashes_is_started_again_with_growing_pauses(
    supervisor, data: DataDir
) -> None:
    marks = data.root / "marks"
    code = f"open({str(marks)!r}, 'a').write('x'); print('ready', flush=True); import time; time.sleep(.2)"
    supervisor.begin(dummy("crasher", code))

    watch_until(supervisor, lambda: marks.read_text() == "xxx")

    text = log_of(data)
    assert "crasher ended (exit 0); again in 0.5 s" in text
    assert "crasher ended (exit 0); again in 1 s" in text
    assert leftovers.read(data)["crasher"].restarts == 2


def test_a_killed_part_comes_back_and_its_orphans_do_not_stay(
    supervisor, data: DataDir
) -> None:
    running = supervisor.begin(dummy("parent", PARENT))
    family = processes.family(running.identity)

    os.kill(running.child.pid, signal.SIGKILL)
    watch_until(
        supervisor,
        lambda: (
            "parent" in leftovers.read(data)
            and leftovers.read(data)["parent"].restarts == 1
            and leftovers.read(data)["parent"].state == "ready"
        ),
    )

    assert not any(member.is_running() for member in family)
    assert leftovers.read(data)["parent"].pid != running.child.pid


def test_a_part_that_ends_before_it_is_ready_fails_the_start(supervisor) -> None:
    with pytest.raises(StartFailed, match=r"broken ended while starting \(exit 3\)"):
        supervisor.begin(dummy("broken", "import sys; sys.exit(3)"))


def test_a_part_that_never_gets_ready_fails_the_start_and_is_gone(supervisor) -> None:
    part = dummy("mute", "import time; time.sleep(600)", ready=never, ready_within=0.3)
    before = set(psutil.Process().children(recursive=True))

    with pytest.raises(StartFailed, match="mute was not ready"):
        supervisor.begin(part)

    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_program_that_is_not_there_is_named(supervisor) -> None:
    part = Part(name="absent", argv=["/nonexistent/program"], env={}, ready=never)

    with pytest.raises(StartFailed, match="absent"):
        supervisor.begin(part)


def test_a_command_that_fails_is_named_with_its_exit(supervisor) -> None:
    with pytest.raises(StartFailed, match=r"`migrate` failed \(exit 7\)"):
        supervisor.complete("migrate", [sys.executable, "-c", "exit(7)"], {})


def test_a_stop_that_comes_while_a_part_starts_ends_the_start(supervisor) -> None:
    threading.Timer(0.3, supervisor.ask_to_stop).start()

    with pytest.raises(Stopped):
        supervisor.begin(dummy("mute", "import time; time.sleep(600)"))


def test_what_a_killed_supervisor_left_is_ended_by_the_next(data: DataDir) -> None:
    running = parts.start(dummy("parent", PARENT, tied=False), None)
    parts.await_ready(running)
    family = processes.family(running.identity)
    recorded = leftovers.Recorded(
        running.identity.pid, running.identity.started, "ready"
    )
    leftovers.write(data, {"parent": recorded})

    reaper = threading.Thread(target=running.child.wait)
    reaper.start()
    ended = leftovers.end_all(data)
    reaper.join()
    running.kill()

    assert ended == ["parent"]
    assert not any(member.is_running() for member in family)
    assert leftovers.read(data) == {}


def test_a_stranger_with_a_recorded_pid_is_not_touched(data: DataDir) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.DEVNULL
    ) as it:
        earlier = psutil.Process(it.pid).create_time() - 3600
        leftovers.write(data, {"web": leftovers.Recorded(it.pid, earlier, "ready")})

        assert leftovers.end_all(data) == []
        assert it.poll() is None
        it.kill()


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_a_part_spawned_for_a_test_leaves_no_open_file(end: str) -> None:
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

    with pytest.raises(StartFailed, match="is of Postgres 16, this is 18"):
        servers.start_postgres(data, servers.begin_and_wait)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_cluster_of_another_user_is_refused_by_name(data: DataDir) -> None:
    Postgres(data, 0, durable=False).initialise()
    os.chown(data.postgres, 12345, -1)

    with pytest.raises(StartFailed, match="belongs to user 12345"):
        servers.start_postgres(data, servers.begin_and_wait)


def test_a_server_whose_number_is_somebody_elses_by_now_does_not_bar_the_start(
    data: DataDir,
) -> None:
    """As after a power cut, or in a new container on kept data: numbers start anew."""
    Postgres(data, 0, durable=False).initialise()
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    running: list[Running] = []

    def begin(wanted: Part) -> Running:
        running.append(servers.begin_and_wait(wanted))
        return running[-1]

    with subprocess.Popen(["sleep", "600"], user=user) as stranger:
        file = data.postgres / "postmaster.pid"
        file.write_text(f"{stranger.pid}\n{data.postgres}\n1700000000\n5432\n\n\n\n")
        try:
            servers.start_postgres(data, begin, durable=False)
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
"""One process at a time, for ten seconds, but every five milliseconds another one."""


def test_whoever_has_just_started_another_is_killed_with_it() -> None:
    running = parts.start(dummy("hands on", HANDS_ON), None)
    assert eventually(lambda: running.said("ready"))

    running.kill()

    assert eventually(lambda: processes.family(running.identity) == [], within=4)
