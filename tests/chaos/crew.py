"""The processes of the product in the chaos test."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil  # type: ignore[import-untyped]

from execfabric.local import processes
from execfabric.local.layout import PROJECT
from tests.chaos.proxy import Proxy
from tests.chaos.stage import Stage
from tests.servers import Spawned, spawn

SHIFTED = Path(__file__).with_name("shifted")
SHIFTS_S = (0.0, 7.0, 0.0, -5.0)
"""The clocks of the workers, one after the other: half of them are wrong."""


@dataclass
class Crew:
    """The workers, the keepers and a web server: each that ends is replaced at once."""

    stage: Stage
    size: int
    concurrency: int
    keepers: int = 1
    has_web: bool = False
    workers: list[Spawned] = field(default_factory=list)
    others: list[Spawned] = field(default_factory=list)
    """The keepers, and the web server after them."""
    proxy: Proxy = field(init=False)
    """Between all parts and Postgres."""
    shifts: bool = False
    """True if half of the workers have a wrong clock."""
    _made: int = 0
    _env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        url = urlsplit(self.stage.endpoints.database_url)
        self.proxy = Proxy(url.hostname or "", url.port or 0)
        self.proxy.start()
        who, _, _ = url.netloc.rpartition("@")
        through = url._replace(netloc=f"{who}@127.0.0.1:{self.proxy.port}")
        self._env = {**self.stage.env, "DATABASE_URL": urlunsplit(through)}

    def start(self) -> None:
        """Start all of them, and wait until they are ready."""
        self.workers = [self._worker() for _ in range(self.size)]
        self.others = [spawn("keeper", self._env) for _ in range(self.keepers)]
        if self.has_web:
            self.others.append(spawn("web", self._env))
        for part in (*self.workers, *self.others):
            part.wait_ready()

    def ready(self) -> list[Spawned]:
        """Return the workers that can take steps."""
        return [
            w for w in self.workers if w.alive and w.running.service.ready(w.running)
        ]

    def renew(self) -> None:
        """Replace the parts that ended by themselves, as their supervisor does."""
        for worker in [one for one in self.workers if not one.alive]:
            self.kill_worker(worker)
        for index, part in enumerate(self.others):
            if not part.alive:
                self.kill_other(index)

    def pids(self, worker: Spawned) -> list[int]:
        """Return the processes of a worker."""
        with contextlib.suppress(psutil.Error):
            return [member.pid for member in processes.family(worker.pid)]
        return []

    def kill_worker(self, worker: Spawned) -> None:
        """SIGKILL to the worker, its pool and its runners; another takes its place."""
        worker.kill9()
        self.workers[self.workers.index(worker)] = self._worker()

    def kill_other(self, index: int) -> None:
        """SIGKILL to a keeper or the web server; another takes its place."""
        ended = self.others[index]
        ended.kill9()
        self.others[index] = spawn("web" if ended.url else "keeper", self._env)

    def stop(self) -> None:
        """End all of them."""
        for part in (*self.workers, *self.others):
            part.kill9()

    def _worker(self) -> Spawned:
        shift = SHIFTS_S[self._made % len(SHIFTS_S)] if self.shifts else 0.0
        self._made += 1
        env = self._env
        if shift:
            path = os.pathsep.join([str(SHIFTED), str(PROJECT)])
            env = {**env, "PYTHONPATH": path, "CHAOS_CLOCK_SHIFT_S": str(shift)}
        return spawn("worker", env, name=f"w{self._made}", concurrency=self.concurrency)
