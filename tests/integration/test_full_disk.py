"""A real installation on a disk that gets full: it stays, says so, and recovers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from execfabric.lib.ids import uuid7
from execfabric.local import commands, endpoints
from execfabric.local.layout import PROJECT, DataDir
from execfabric.local.service import Service
from execfabric.local.supervisor import Supervisor, process_of, read_status
from orchestration.runs.engine import artifacts
from orchestration.runs.errors import ArtifactNotStored
from tests.builders import NOON
from tests.servers import eventually, prepare_data

SIZE_MB = 400
LEAST_FREE_MB = 30
RECOVERY = 5.0
"""Seconds after which it must serve again when there is room."""


class Disk:
    """A small disk of its own, and the installation on it."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.data = DataDir(mount / "data")
        outer = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT")
        kept = {name: text for name, text in os.environ.items() if name not in outer}
        self.env = kept | {
            "EXECFABRIC_DATA_DIR": str(self.data.root),
            "EXECFABRIC_MIN_FREE_MB": str(LEAST_FREE_MB),
            "EXECFABRIC_WORKER_CONCURRENCY": "1",
            "PYTHONPATH": str(PROJECT),
        }

    def local(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Call what `make up`, `make status` and `make down` call."""
        return self._run([sys.executable, "-m", "execfabric.local", *arguments])

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self._run(commands.manage(*arguments))

    def empty(self) -> None:
        """Give the space back."""
        (self.mount / "filler").unlink()

    def supervisor(self) -> psutil.Process:
        process = process_of(read_status(self.data)["supervisor"])
        assert process is not None
        return process

    def workers(self) -> set[int]:
        """Return the first process of each worker of the supervisor."""
        found = set()
        for child in self.supervisor().children():
            # One that has just ended has no command line any more.
            with suppress(psutil.Error):
                if "celery" in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    def serves(self) -> bool:
        found = endpoints.load(self.data.root)
        return found is not None and commands.answers(f"{found.url}/readyz")

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            env=self.env,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[None]:
    """Mount a disk of this size on the folder."""
    folder.mkdir()
    size = f"size={megabytes}m"
    command = ["mount", "-t", "tmpfs", "-o", size, "execfabric-test", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mount = tmp_path / "disk"
    with mounted(mount, SIZE_MB):
        made = Disk(mount)
        prepare_data(made.data.root)
        try:
            yield made
        finally:
            made.local("down")


def fill(mount: Path) -> None:
    """Take what is left of a disk."""
    with (mount / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def sleeper() -> Service:
    code = "import time; print('ready', flush=True); time.sleep(600)"
    return Service(
        name="sleeper",
        argv=[sys.executable, "-c", code],
        env=os.environ,
        ready=lambda running: running.printed("ready"),
        grace=1.0,
    )


def down(supervisor: Supervisor) -> list[str]:
    """Return the services that wait for their restart or are not ready again."""
    return [
        process.service.name
        for process in supervisor._processes
        if process.state != "ready"
    ]


def watch_until(supervisor: Supervisor, true: Callable[[], bool]) -> None:
    def check() -> bool:
        supervisor.check()
        return true()

    assert eventually(check, within=30)


def write_for_ever(disk: Disk) -> None:
    """Have Postgres need more disk than there is."""
    found = endpoints.load(disk.data.root)
    assert found is not None
    with psycopg.connect(found.owner_database_url) as connection:
        connection.execute("CREATE TABLE waste (text text)")
        while True:
            connection.execute(
                "INSERT INTO waste SELECT repeat(md5(random()::text), 30)"
                " FROM generate_series(1, 10000)"
            )


def test_a_full_disk_ends_nothing_for_good(disk: Disk) -> None:
    up = disk.local("up", "--no-demo")
    assert up.returncode == 0, up.stdout
    made = disk.manage("create_user", "kept", "--role", "auditor")
    assert made.returncode == 0, made.stderr
    supervisor = disk.supervisor()
    first = disk.workers()

    fill(disk.mount)
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(psycopg.Error):
        write_for_ever(disk)
    assert eventually(lambda: disk.workers() - first, within=60)
    said = disk.local("status").stdout
    disk.empty()

    assert eventually(disk.serves, within=RECOVERY)
    assert "MB left. No new work starts. Free some space." in said
    assert disk.supervisor() == supervisor
    assert disk.manage("verify_trace").returncode == 0
    again = disk.manage("create_user", "kept", "--role", "auditor")
    assert "kept" in again.stdout + again.stderr
    assert again.returncode != 0


def test_the_supervisor_goes_on_if_it_cannot_write_its_status(
    tmp_path: Path,
) -> None:
    small = tmp_path / "small"
    with mounted(small, 2):
        data = DataDir(small / "data")
        data.prepare()
        log = data.log.open("ab", buffering=0)
        supervisor = Supervisor(data, log)
        [running] = supervisor.begin(sleeper())
        pid = running.pid
        fill(small)
        os.kill(pid, signal.SIGKILL)
        watch_until(supervisor, lambda: "sleeper" in down(supervisor))
        watch_until(supervisor, lambda: not down(supervisor))
        assert read_status(data)["sleeper"]["pid"] == pid

        (small / "filler").unlink()
        now = lambda: read_status(data)["sleeper"]  # noqa: E731  short
        watch_until(supervisor, lambda: now()["pid"] != pid)

        assert now()["restarts"] == 1
        supervisor.stop()
        log.close()


def test_a_file_that_does_not_fit_is_refused_and_leaves_no_half(
    tmp_path: Path, settings, db
) -> None:
    store, work = tmp_path / "store", tmp_path / "work"
    work.mkdir()
    (work / "large").write_bytes(b"x" * 3_000_000)
    options = {"OPTIONS": {"location": str(store)}}
    settings.STORAGES = {
        **settings.STORAGES,
        "default": settings.STORAGES["default"] | options,
    }

    with mounted(store, 1):
        with pytest.raises(ArtifactNotStored, match="cannot be written"):
            artifacts.store(
                {"file": work / "large"}, folder=work, step_run_id=uuid7(), at=NOON
            )
        left = [path for path in store.rglob("*") if path.is_file()]

    assert left == []
