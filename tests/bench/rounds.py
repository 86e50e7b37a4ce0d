"""Paired rounds: the same chains, governed and on the bare canvas, in turn."""

import time
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Protocol

import psycopg
import redis
from django.conf import settings
from django.db.models import Max

from execfabric.celery import QUEUE
from execfabric.local.service import ServiceProcess
from orchestration.runs.models import Run, StepRun
from tests.bench import bare, parts, plans
from tests.bench.people import People, patiently
from tests.chaos.stage import Stage

POLL_S = 0.1
END = "SELECT count(*), max(at) FROM bare_step WHERE round = %s"


@dataclass(frozen=True)
class Round:
    """What one measured window took, per step."""

    steps_per_s: float
    wal_bytes: float
    cpu_ms: dict[str, float]
    """By kind of process."""


class Side(Protocol):
    """One of the two that are compared."""

    worker: ServiceProcess

    def prepare(self, chains: int) -> None:
        """Do what may be done before the window opens."""

    def queue(self) -> None:
        """Queue the chains for the worker."""

    def end(self) -> datetime | None:
        """Return when the last step ended, once all have."""


class Governed:
    """Approved runs of the product."""

    def __init__(self, worker: ServiceProcess, who: People, length: int) -> None:
        self.worker = worker
        self._who = who
        self._length = length
        self._runs: list[Run] = []

    def prepare(self, chains: int) -> None:
        """Propose the runs and let the worker finish their dry runs."""
        self._runs = self._who.propose(plans.chain(self._length), chains)
        with redis.Redis.from_url(settings.REDIS_URL) as broker:
            for _ in patiently(POLL_S):
                if not broker.llen(QUEUE):
                    return

    def queue(self) -> None:
        """Approve the runs."""
        for run in self._runs:
            self._who.approve(run)

    def end(self) -> datetime | None:
        """Return when the last step ended, once all runs have succeeded."""
        ids = [run.pk for run in self._runs]
        ended = Run.objects.filter(id__in=ids, state="succeeded").count()
        if ended < len(ids):
            return None
        steps = StepRun.objects.filter(run__in=ids)
        last: datetime = steps.aggregate(last=Max("finished_at"))["last"]
        return last


class Bare:
    """The same on the bare canvas."""

    def __init__(
        self, worker: ServiceProcess, database: psycopg.Connection[Any], length: int
    ) -> None:
        self.worker = worker
        self._database = database
        self._length = length
        self._round = self._chains = 0

    def prepare(self, chains: int) -> None:
        """Begin another round."""
        self._round += 1
        self._chains = chains

    def queue(self) -> None:
        """Send the chains."""
        for number in range(self._chains):
            bare.submit(self._round, number, self._length)

    def end(self) -> datetime | None:
        """Return when the last row was written, once all are there."""
        row = self._database.execute(END, [self._round]).fetchone()
        return row[1] if row and row[0] == self._chains * self._length else None


def paired(
    stage: Stage, who: People, sizes: dict[str, int], *, length: int
) -> dict[str, Any]:
    """Measure both sides in turn, after a warm-up; who goes first alternates."""
    with (
        psycopg.connect(stage.endpoints.database_url, autocommit=True) as database,
        parts.worker(stage.env, sizes["processes"]) as worker,
        parts.bare_worker(stage.env, sizes["processes"]) as bare_worker,
    ):
        _make_table(stage, database)
        bare.app.conf.update(broker_url=stage.endpoints.redis_url)
        governed = Governed(worker, who, length)
        yardstick = Bare(bare_worker, database, length)
        sides: list[Side] = [governed, yardstick]
        for side in sides:
            _measured(stage, database, side, sizes["warm_up"], length)
        found: dict[Side, list[Round]] = {side: [] for side in sides}
        for _ in range(sizes["rounds"]):
            sides.reverse()
            for side in sides:
                found[side].append(
                    _measured(stage, database, side, sizes["chains"], length)
                )
    ours, theirs = found[governed], found[yardstick]
    return {
        "governed": _summary(ours),
        "bare": _summary(theirs),
        "speed_ratio": _ratio(
            [one.steps_per_s for one in ours], [one.steps_per_s for one in theirs]
        ),
        "cpu_ratio": _ratio(
            [sum(one.cpu_ms.values()) for one in ours],
            [sum(one.cpu_ms.values()) for one in theirs],
        ),
    }


def _measured(
    stage: Stage,
    database: psycopg.Connection[Any],
    side: Side,
    chains: int,
    length: int,
) -> Round:
    """Queue everything while the worker is halted; measure from its go to the end."""
    steps = chains * length
    side.prepare(chains)
    with parts.halted(side.worker):
        side.queue()
        meter = parts.Meter(stage, side.worker)
        cpu, wal = meter.read(), _wal(database)
        begun = time.time()
    for _ in patiently(POLL_S):
        if (end := side.end()) is not None:
            break
    used = meter.read()
    used.subtract(cpu)
    return Round(
        steps_per_s=steps / (end.timestamp() - begun),
        wal_bytes=(_wal(database) - wal) / steps,
        cpu_ms={kind: value / steps for kind, value in used.items()},
    )


def _summary(rounds: list[Round]) -> dict[str, Any]:
    """Return the median of each figure, and the range of the speed."""
    speeds = [one.steps_per_s for one in rounds]
    totals = [sum(one.cpu_ms.values()) for one in rounds]
    return {
        "steps_per_s": median(speeds),
        "slowest": min(speeds),
        "fastest": max(speeds),
        "wal_bytes": median(one.wal_bytes for one in rounds),
        "cpu_ms": median(totals),
        "cpu_ms_low": min(totals),
        "cpu_ms_high": max(totals),
        "cpu_ms_by_kind": {
            kind: median(one.cpu_ms[kind] for one in rounds)
            for kind in rounds[0].cpu_ms
        },
    }


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median over the rounds of ours over theirs."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def _wal(database: psycopg.Connection[Any]) -> int:
    row = database.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    return int(row[0]) if row else 0


def _make_table(stage: Stage, database: psycopg.Connection[Any]) -> None:
    """Create the bare canvas's table, which the application's role may write."""
    with psycopg.connect(stage.endpoints.owner_database_url, autocommit=True) as owner:
        owner.execute(bare.TABLE)
        row = database.execute("SELECT current_user").fetchone()
        owner.execute(f'GRANT ALL ON bare_step TO "{row[0] if row else ""}"')
