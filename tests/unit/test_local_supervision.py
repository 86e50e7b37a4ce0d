"""The rules of the local installation that need no server."""

import os
import resource
import socket
import stat
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from execfabric.local import endpoints, ports
from execfabric.local.endpoints import Endpoints
from execfabric.local.layout import DataDir, StartFailed
from execfabric.local.ports import PortTaken
from execfabric.local.service import write_line
from execfabric.local.supervisor import LONGEST_PAUSE, pause_before_restart

ADDRESSES = Endpoints(
    database_url="postgresql://app:pw@127.0.0.1:1/db",
    owner_database_url="postgresql://owner:pw@127.0.0.1:1/db",
    redis_url="redis://:pw@127.0.0.1:2/0",
    url="http://127.0.0.1:8000",
)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path / "data")
    made.prepare()
    return made


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_pause_before_a_restart_doubles_up_to_its_longest() -> None:
    pauses = [pause_before_restart(failures) for failures in range(1, 20)]

    assert pauses[:4] == [0.5, 1, 2, 4]
    assert all(one <= other for one, other in pairwise(pauses))
    assert max(pauses) == LONGEST_PAUSE


def test_a_port_that_was_asked_for_and_is_taken_is_refused_by_number(
    taken_port,
) -> None:
    with pytest.raises(PortTaken, match=f"Port {taken_port} is in use"):
        ports.for_web(taken_port)


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http", "²", ""])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(StartFailed, match="it must be from 1 to 65535"):
        ports.number(port)


def test_a_taken_port_is_passed_over_when_none_was_asked_for(
    taken_port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "FIRST_WEB_PORT", taken_port)

    assert ports.for_web(None) > taken_port


def test_a_key_is_made_once_and_only_its_user_may_read_it(data: DataDir) -> None:
    first = data.key("postgres")

    assert data.key("postgres") == first
    assert data.key("valkey") != first
    assert len(first) > 40
    assert mode(data.keys / "postgres") == 0o600


def test_nobody_else_may_enter_the_data_directory(data: DataDir) -> None:
    assert {mode(folder) for folder in (data.root, data.keys, data.secrets)} == {0o700}


def test_a_data_directory_that_was_open_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    DataDir(tmp_path).prepare()

    assert mode(tmp_path) == 0o700


def test_endpoints_are_found_while_up_and_not_afterwards(data: DataDir) -> None:
    assert endpoints.load(data.root) is None

    endpoints.save(data.root, ADDRESSES)

    assert endpoints.load(data.root) == ADDRESSES
    assert mode(endpoints.path(data.root)) == 0o600
    endpoints.remove(data.root)
    assert endpoints.load(data.root) is None


def test_a_data_directory_that_does_not_exist_has_no_endpoints(tmp_path: Path) -> None:
    assert endpoints.load(tmp_path / "nowhere") is None


def test_only_one_process_locks_a_data_directory(data: DataDir) -> None:
    lock = data.lock()

    assert lock is not None
    assert data.lock() is None

    os.close(lock)
    again = data.lock()
    assert again is not None
    os.close(again)


def lines(data: DataDir) -> list[str]:
    return [line.rpartition("| ")[2] for line in data.log.read_text().splitlines()]


def test_the_log_keeps_lines_of_many_threads_whole(data: DataDir) -> None:
    texts = {f"{name}{number}" for name in "abc" for number in range(200)}

    def write(name: str) -> None:
        for number in range(200):
            write_line(log, name, f"{name}{number}")

    with data.log.open("ab", buffering=0) as log:
        threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(lines(data)) == len(texts)
    assert set(lines(data)) == texts


def test_a_full_disk_costs_lines_of_the_log_and_nothing_else(data: DataDir) -> None:
    log = data.log.open("ab", buffering=0)
    write_line(log, "web", "before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (data.log.stat().st_size, limits[1]))
    try:
        write_line(log, "web", "lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write_line(log, "web", "after")
    log.close()
    write_line(log, "web", "too late")

    assert lines(data) == ["before", "after"]
