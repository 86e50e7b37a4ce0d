"""What is measured, each measure a function that returns plain figures."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median, quantiles
from typing import Any
from uuid import UUID

import psycopg
from django.contrib.auth.models import Group
from django.db.models import Max, Min

from approvals.models import Gate
from execfabric.accounts.authority import Role
from execfabric.accounts.models import User
from execfabric.accounts.people import ensure_roles
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.local.part import Running
from orchestration.runs import dispatch
from orchestration.runs.models import Run, StepRun
from orchestration.runs.services import sweep
from tests.bench import bare, parts, plans
from tests.builders import decided, open_gate, proposed
from tests.chaos.stage import Stage

POLL_S = 0.003
LONGEST_S = 600


@dataclass(frozen=True)
class Sizes:
    """How much of each."""

    rounds: int
    chains: int
    length: int
    latencies: int
    width: int
    fans: int
    gates: int
    open_gates: int


@dataclass
class People:
    """Who proposes, and who approves."""

    proposer: User
    operator: User

    def propose(self, text: str, count: int) -> list[Run]:
        """So many runs of a plan, each with its plan gate open."""
        return [proposed(text, self.proposer) for _ in range(count)]

    def approve(self, run: Run, step: str = "") -> None:
        """The operator's yes to a run, or to one of its steps."""
        decided(open_gate(run, step), self.operator)


def people() -> People:
    """One person per role that is needed."""
    ensure_roles(by=system("test"), at=clock.now())
    made = []
    for role in (Role.PROPOSER, Role.OPERATOR):
        user = User.objects.create_user(f"bench-{role}")
        user.groups.add(Group.objects.get(name=str(role)))
        made.append(user)
    return People(*made)


def governed_throughput(stage: Stage, who: People, sizes: Sizes) -> float:
    """Steps per second of approved chains, from the first claim to the last end."""
    runs = who.propose(plans.chain(sizes.length), sizes.chains)
    for run in runs:
        who.approve(run)
    with parts.worker(stage.env):
        _await_end([run.id for run in runs])
    found = StepRun.objects.filter(run__in=runs)
    ends = found.aggregate(first=Min("started_at"), last=Max("finished_at"))
    return sizes.chains * sizes.length / _seconds(ends["first"], ends["last"])


def bare_throughput(stage: Stage, sizes: Sizes) -> float:
    """The same of the bare canvas, from the first row to the last."""
    with psycopg.connect(stage.endpoints.database_url, autocommit=True) as database:
        database.execute("DELETE FROM bare_step")
        for number in range(sizes.chains):
            bare.submit(number, sizes.length)
        wanted = sizes.chains * sizes.length
        with parts.bare_worker(stage.env):
            for _ in _patiently():
                row = database.execute("SELECT count(*) FROM bare_step").fetchone()
                if row and row[0] == wanted:
                    break
                time.sleep(0.02)
        ends = database.execute("SELECT min(at), max(at) FROM bare_step").fetchone()
    if ends is None:
        message = "the bare canvas wrote nothing"
        raise LookupError(message)
    return wanted / _seconds(*ends)


def latencies(
    stage: Stage, who: People, text: str, count: int
) -> dict[str, list[float]]:
    """Milliseconds of runs of a plan, one at a time, as a poller sees their ends."""
    from_approval, from_claim = [], []
    with psycopg.connect(stage.endpoints.database_url, autocommit=True) as database:
        for run in who.propose(text, count):
            begun = time.time()
            who.approve(run)
            _await_state(database, run.id, "succeeded")
            end = time.time()
            claimed = run.steps.aggregate(first=Min("started_at"))["first"]
            from_approval.append((end - begun) * 1000)
            from_claim.append((end - claimed.timestamp()) * 1000)
    return {"from_approval": from_approval, "from_first_claim": from_claim}


def gate_to_start(stage: Stage, who: People, count: int) -> dict[str, list[float]]:
    """Milliseconds from an approval to the first instruction of the step it frees."""
    runs = who.propose(plans.gated(), count)
    for run in runs:
        who.approve(run)
    from_call, from_commit = [], []
    with (
        psycopg.connect(stage.endpoints.database_url, autocommit=True) as database,
        _commits() as commits,
    ):
        for run in runs:
            called = time.time()
            who.approve(run, "s0")
            committed = commits[-1]
            _await_state(database, run.id, "succeeded")
            began = (run.steps.get().output or {})["at"]
            from_call.append((began - called) * 1000)
            from_commit.append((began - committed) * 1000)
    return {"from_decision": from_call, "from_commit": from_commit}


def open_gates(
    stage: Stage, who: People, worker: Running, sizes: Sizes
) -> dict[str, float]:
    """What gates that wait cost: memory, rows, bytes, and the speed of all else."""
    width = min(100, sizes.open_gates)
    with psycopg.connect(stage.endpoints.owner_database_url) as owner:
        before = _cost(stage, who, worker, owner)
        runs = who.propose(plans.many_gates(width), sizes.open_gates // width)
        for run in runs:
            who.approve(run)
        after = _cost(stage, who, worker, owner)
    return {
        "gates": Gate.objects.filter(status="requested").count(),
        "running_steps": StepRun.objects.filter(state="running").count(),
        **{f"{name}_before": value for name, value in before.items()},
        **{f"{name}_after": value for name, value in after.items()},
    }


def _cost(
    stage: Stage, who: People, worker: Running, owner: psycopg.Connection[Any]
) -> dict[str, float]:
    row = owner.execute("SELECT pg_database_size(current_database())").fetchone()
    begun = time.perf_counter()
    sweep.sweep(at=clock.now())
    swept = time.perf_counter() - begun
    chains = latencies(stage, who, plans.chain(10), 5)
    return {
        "worker_mib": parts.rss_mib(worker),
        "database_mib": (row[0] if row else 0) / 2**20,
        "sweep_ms": swept * 1000,
        "chain_ms": median(chains["from_approval"]),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    top = quantiles(values, n=100)[98] if len(values) > 1 else values[0]
    return {"p50": median(values), "p99": min(top, max(values))}


@contextlib.contextmanager
def _commits() -> Iterator[list[float]]:
    """When each hint was sent: the first thing that happens after a commit."""
    times: list[float] = []
    real = dispatch.send

    def send(step_runs: Sequence[UUID]) -> None:
        times.append(time.time())
        real(step_runs)

    dispatch.send = send
    try:
        yield times
    finally:
        dispatch.send = real


def _await_end(ids: Sequence[UUID]) -> None:
    for _ in _patiently():
        if Run.objects.filter(id__in=ids, state="succeeded").count() == len(ids):
            return
        time.sleep(0.1)


def _await_state(database: psycopg.Connection[Any], run: UUID, state: str) -> None:
    for _ in _patiently():
        found = database.execute("SELECT state FROM runs_run WHERE id = %s", [run])
        if (found.fetchone() or [""])[0] == state:
            return
        time.sleep(POLL_S)


def _patiently() -> Iterator[None]:
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        yield
    message = f"it did not end within {LONGEST_S} s"
    raise TimeoutError(message)


def _seconds(first: datetime, last: datetime) -> float:
    return (last - first).total_seconds()
