"""What goes wrong: processes killed or frozen, connections cut, the broker emptied."""

import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psutil  # type: ignore[import-untyped]
import psycopg
import redis
from django.db import connection

from execfabric.celery import app
from execfabric.local import processes
from orchestration.runs import dispatch
from tests.chaos.proxy import Proxy
from tests.chaos.stage import Stage
from tests.servers import Spawned, spawn

TIMES = 10
"""How often each hint is delivered."""


@dataclass
class Crew:
    """The workers and the keeper: whoever dies is replaced at once."""

    stage: Stage
    size: int
    concurrency: int
    workers: list[Spawned] = field(default_factory=list)
    keeper: Spawned | None = None
    proxy: Proxy = field(init=False)
    """Between all parts and Postgres."""
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
        """Start the workers and the keeper, and wait until they are ready."""
        self.workers = [self._worker() for _ in range(self.size)]
        self.keeper = spawn("keeper", self._env)
        for part in (*self.workers, self.keeper):
            part.wait_ready()

    def ready(self) -> list[Spawned]:
        """Return the workers that can take steps."""
        return [
            w for w in self.workers if w.alive and w.running.service.ready(w.running)
        ]

    def kill_worker(self, worker: Spawned) -> None:
        """SIGKILL to the worker, its pool and its runners; another takes its place."""
        worker.kill9()
        self.workers[self.workers.index(worker)] = self._worker()

    def kill_keeper(self) -> None:
        """SIGKILL to the keeper; another takes its place."""
        if self.keeper is not None:
            self.keeper.kill9()
        self.keeper = spawn("keeper", self._env)

    def stop(self) -> None:
        """End everybody."""
        for part in (*self.workers, *([self.keeper] if self.keeper else [])):
            part.kill9()

    def _worker(self) -> Spawned:
        self._made += 1
        return spawn(
            "worker",
            self._env,
            name=f"w{self._made}",
            concurrency=self.concurrency,
        )


@dataclass
class Faults:
    """When what happens next, from one seed."""

    crew: Crew
    rng: random.Random
    lease_s: float
    done: Counter[str] = field(default_factory=Counter)
    _due: dict[str, float] = field(default_factory=dict)
    _stopped: list[tuple[float, psutil.Process]] = field(default_factory=list)

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
    }

    def __post_init__(self) -> None:
        for kind in self.EVERY:
            self._plan(kind)

    def strike(self) -> None:
        """Do what is due."""
        self._wake()
        for kind, due in self._due.items():
            if time.monotonic() >= due and getattr(self, f"_{kind}")():
                self.done[kind] += 1
                self._plan(kind)

    def over(self) -> None:
        """Have everybody who was stopped go on; nothing goes wrong any more."""
        self.crew.proxy.disarm()
        for kind in ("request", "answer"):
            self.done[kind] = self.crew.proxy.done[kind]
        self._wake(everybody=True)

    def _plan(self, kind: str) -> None:
        self._due[kind] = time.monotonic() + self.rng.uniform(*self.EVERY[kind])

    def _kill(self) -> bool:
        ready = self.crew.ready()
        # Half of them stay, or on a slow machine nothing but starts would ever happen.
        enough = len(ready) > self.crew.size / 2
        if enough:
            self.crew.kill_worker(self.rng.choice(ready))
        return enough

    def _keeper(self) -> bool:
        self.crew.kill_keeper()
        return True

    def _flush(self) -> bool:
        redis.Redis.from_url(self.crew.stage.endpoints.redis_url).flushall()
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


@dataclass
class Publisher:
    """Delivers each step's hint ten times, and hints that nobody meant."""

    rng: random.Random
    broker: "redis.Redis[bytes]"
    sent: int = 0
    forged: int = 0
    _known: set[tuple[UUID, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._real = dispatch.send

    @contextlib.contextmanager
    def multiplying(self) -> Iterator[None]:
        """For the body, each hint that follows a decision here is published often."""
        dispatch.send = self._often
        try:
            yield
        finally:
            dispatch.send = self._real

    def hint(self, ready: Sequence[tuple[UUID, int]]) -> None:
        """Publish what is ready and not yet multiplied, and one forgery each."""
        for item in set(ready) - self._known:
            self._known.add(item)
            self._often([item[0]])
            old = self.rng.choice(sorted(self._known, key=str))[0]
            self._forge([uuid4(), old])

    def _often(self, ids: Sequence[UUID]) -> None:
        self._real(list(ids) * TIMES)
        self.sent += len(ids) * TIMES

    def _forge(self, ids: Sequence[UUID]) -> None:
        self._real(ids)
        self.broker.lpush(dispatch.STEPS, "no id at all", b"\xff", "")
        app.send_task(dispatch.WORK, kwargs={"order": "rm"})
        self.forged += len(ids) + 4


def _is_runner(process: psutil.Process) -> bool:
    return any("program.main" in text for text in process.cmdline())
