"""The processes of the benchmark, and the CPU time they use."""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import redis

from execfabric.local import commands, ports, processes
from execfabric.local.service import Service, ServiceProcess
from tests.bench import bare
from tests.chaos.stage import Stage

BACKENDS = """
SELECT pid, usesysid IS NOT NULL FROM pg_stat_activity WHERE pid <> pg_backend_pid()
"""
NS_PER_MS = 1e6


@contextmanager
def worker(env: Mapping[str, str], count: int) -> Iterator[ServiceProcess]:
    """Run the product's worker with its command line, until the block ends."""
    with _ready(commands.worker(env, concurrency=count)) as running:
        yield running


@contextmanager
def bare_worker(env: Mapping[str, str], count: int) -> Iterator[ServiceProcess]:
    """Run a worker of the bare canvas with the same options."""
    wanted = commands.worker(env, concurrency=count, name="bare")
    swapped = {"execfabric.celery": bare.__name__, "execfabric": bare.QUEUE}
    argv = [swapped.get(word, word) for word in wanted.argv]
    with _ready(replace(wanted, argv=argv)) as running:
        yield running


@contextmanager
def keeper(env: Mapping[str, str]) -> Iterator[ServiceProcess]:
    """Run the product's keeper."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        with _ready(commands.keeper(env, ready_file=ready)) as running:
            yield running


@contextmanager
def web(env: Mapping[str, str]) -> Iterator[tuple[ServiceProcess, int]]:
    """Run the product's web server; return it and its port."""
    port = ports.any_free()
    with _ready(commands.web(env, port=port)) as running:
        yield running, port


@contextmanager
def halted(running: ServiceProcess) -> Iterator[None]:
    """Stop a worker's processes during the block, so that work can be queued."""
    family = processes.family(running.pid)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.suspend()
    try:
        yield
    finally:
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.resume()


class Meter:
    """The CPU time of a worker and of the servers, by kind of process."""

    def __init__(self, stage: Stage, running: ServiceProcess) -> None:
        owner_url = stage.endpoints.owner_database_url
        with psycopg.connect(owner_url, autocommit=True) as owner:
            backends = owner.execute(BACKENDS).fetchall()
        self._kinds = {
            pid: "Postgres backends" if client else "Postgres auxiliaries"
            for pid, client in backends
        }
        with redis.Redis.from_url(stage.endpoints.redis_url) as broker:
            self._kinds[broker.info("server")["process_id"]] = "Valkey"
        main = running.pid
        for member in processes.family(running.pid):
            with suppress(psutil.NoSuchProcess):
                is_pool = member.ppid() == main
                self._kinds[member.pid] = "pool" if is_pool else "runners"
        self._kinds[main] = "Celery main"
        self._used: dict[Path, tuple[str, float]] = {}

    def read(self) -> Counter[str]:
        """Return milliseconds so far, of all threads of each kind of process.

        A thread that has ended counts with what it had used at the last reading.
        """
        for pid, kind in self._kinds.items():
            for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(FileNotFoundError, ProcessLookupError):
                    used = int(thread.read_text().split()[0]) / NS_PER_MS
                    self._used[thread] = kind, used
        total = Counter(dict.fromkeys(self._kinds.values(), 0))
        for kind, used in self._used.values():
            total[kind] += used
        return total


def rss_mib(running: ServiceProcess) -> float:
    """Return the memory that a part and its children use; shared pages count once."""
    total = 0
    for member in processes.family(running.pid):
        with suppress(psutil.NoSuchProcess):
            total += member.memory_full_info().pss
    return total / 2**20


@contextmanager
def _ready(wanted: Service) -> Iterator[ServiceProcess]:
    running = ServiceProcess(wanted)
    try:
        running.await_ready()
        yield running
    except BaseException:
        print(running.output()[-4000:], file=sys.stderr)
        raise
    finally:
        running.kill()
