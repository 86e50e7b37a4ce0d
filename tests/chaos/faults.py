"""What goes wrong: processes killed or frozen, connections cut, servers restarted."""

import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped]
import psycopg
import redis
from django.db import connection

from execfabric.local import processes
from tests.chaos.crew import Crew
from tests.chaos.stopwatch import Stopwatch

FULL_S = (1.0, 3.0)
"""How long the disk stays full."""


@dataclass
class Faults:
    """When what happens next, from one seed."""

    crew: Crew
    seed: int
    lease_s: float
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    done: Counter[str] = field(default_factory=Counter)
    rng: random.Random = field(init=False)
    _times: dict[str, random.Random] = field(init=False)
    """One for each kind, so that a seed has faults at the same times again."""
    _due: dict[str, float] = field(default_factory=dict)
    _stopped: list[tuple[float, psutil.Process]] = field(default_factory=list)
    _full_until: float = 0.0

    EVERY = {
        "kill": (0.5, 1.5),
        "keeper": (15.0, 30.0),
        "flush": (4.0, 8.0),
        "stop": (8.0, 16.0),
        "cut": (8.0, 16.0),
        "child": (2.0, 6.0),
        "runner": (2.0, 6.0),
        "freeze": (4.0, 8.0),
        "request": (0.5, 2.0),
        "answer": (0.5, 2.0),
        "silence": (8.0, 16.0),
        "web": (20.0, 40.0),
        "broker": (20.0, 40.0),
        "postgres": (30.0, 60.0),
        "disk": (20.0, 40.0),
    }

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed} targets")
        self._times = {
            kind: random.Random(f"{self.seed} {kind}") for kind in self.EVERY
        }
        for kind in self.EVERY:
            self._plan(kind)

    def strike(self) -> None:
        """Do what is due."""
        self._wake()
        if time.monotonic() > self._full_until:
            self._empty_disk()
        self.stopwatch.look()
        for kind, due in self._due.items():
            if time.monotonic() >= due and getattr(self, f"_{kind}")():
                self.done[kind] += 1
                self._plan(kind)

    def over(self) -> None:
        """Have everybody who was stopped go on; nothing goes wrong any more."""
        self.crew.proxy.disarm()
        for kind in ("request", "answer", "silence"):
            self.done[kind] = self.crew.proxy.done[kind]
        self._wake(everybody=True)
        self._empty_disk()

    def _plan(self, kind: str) -> None:
        self._due[kind] = time.monotonic() + self._times[kind].uniform(
            *self.EVERY[kind]
        )

    def _kill(self) -> bool:
        ready = self.crew.ready()
        # Half of them stay, or on a slow machine nothing but starts would ever happen.
        enough = len(ready) > self.crew.size / 2
        if enough:
            worker = self.rng.choice(ready)
            pids = self.crew.pids(worker)
            self.crew.kill_worker(worker)
            self.stopwatch.killed(pids)
        return enough

    def _keeper(self) -> bool:
        self.crew.kill_other(self.rng.randrange(self.crew.keepers))
        return True

    def _web(self) -> bool:
        if self.crew.has_web:
            self.crew.kill_other(-1)
        return self.crew.has_web

    def _broker(self) -> bool:
        """SIGKILL to Valkey, which stores nothing."""
        self.crew.stage.servers.restart_broker()
        self.stopwatch.wiped()
        return True

    def _postgres(self) -> bool:
        """Restart Postgres at once: it recovers from its log, as after a crash."""
        self.crew.stage.servers.restart_postgres()
        connection.close()
        return True

    def _disk(self) -> bool:
        """Fill the disk with the artifacts for a while."""
        disk = self.crew.stage.disk
        if disk is None:
            return False
        self._full_until = time.monotonic() + self.rng.uniform(*FULL_S)
        with contextlib.suppress(OSError), (disk / "filler").open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        return True

    def _empty_disk(self) -> None:
        if self.crew.stage.disk is not None:
            (self.crew.stage.disk / "filler").unlink(missing_ok=True)

    def _flush(self) -> bool:
        redis.Redis.from_url(self.crew.stage.endpoints.redis_url).flushall()
        self.stopwatch.wiped()
        return True

    def _cut(self) -> bool:
        """Cut every connection of the parts to the database, this program's excepted."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user, pg_backend_pid()")
            own = cursor.fetchone()
        url = self.crew.stage.endpoints.owner_database_url
        with psycopg.connect(url, autocommit=True) as owner:
            found = owner.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = %s AND pid <> %s", own
            )
            for row in found.fetchall():
                # One that is just ending belongs to no role any more.
                with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                    owner.execute("SELECT pg_terminate_backend(%s)", row)
        return True

    def _request(self) -> bool:
        """Cut a connection when it asks for a commit, before the server knows."""
        self.crew.proxy.lose("request")
        return True

    def _answer(self) -> bool:
        """Cut a connection when a commit is done, before the client knows."""
        self.crew.proxy.lose("answer")
        return True

    def _silence(self) -> bool:
        """Leave a connection half open at a commit, for longer than a lease."""
        self.crew.proxy.lose("silence")
        return True

    def _child(self) -> bool:
        """SIGKILL to one process of a worker's pool."""
        return self._hit("kill", runner=False) is not None

    def _runner(self) -> bool:
        """SIGKILL to a runner or to the guardian of one."""
        return self._hit("kill", runner=True) is not None

    def _freeze(self) -> bool:
        """SIGSTOP to one process only, for up to twice its lease."""
        process = self._hit("suspend", runner=self.rng.random() < 1 / 2)
        if process is not None:
            self._stopped.append((self._until(), process))
        return process is not None

    def _hit(self, method: str, *, runner: bool) -> psutil.Process | None:
        """Send a signal to a process of some worker: of its pool, or of its runners."""
        ready = self.crew.ready()
        if len(ready) < 2:
            return None
        worker = self.rng.choice(ready)
        # Each may be gone by the time it is looked at, or hit.
        with contextlib.suppress(psutil.Error, IndexError):
            members = processes.family(worker.running.pid)
            found = [one for one in members if _is_runner(one) == runner]
            chosen = self.rng.choice(found)
            # The worker's first process starts the others again.
            if chosen.pid != worker.pid:
                getattr(chosen, method)()
                return chosen
        return None

    def _until(self) -> float:
        return time.monotonic() + self.rng.uniform(0.5, 2) * self.lease_s

    def _stop(self) -> bool:
        """SIGSTOP to a whole worker for up to twice its lease: a zombie comes back.

        It may hold the lock of a run, also against this program, whose turn it is to
        wake it: the server has to end its transaction.
        """
        ready = self.crew.ready()
        if len(ready) < 2:
            return False
        until = self._until()
        for member in processes.family(self.rng.choice(ready).running.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.suspend()
                self._stopped.append((until, member))
        return True

    def _wake(self, *, everybody: bool = False) -> None:
        now = time.monotonic()
        due = [one for one in self._stopped if everybody or one[0] <= now]
        for one in due:
            # Each by itself: its parent may have been killed meanwhile.
            with contextlib.suppress(psutil.NoSuchProcess):
                one[1].resume()
            self._stopped.remove(one)


def _is_runner(process: psutil.Process) -> bool:
    return any("program.main" in text for text in process.cmdline())
