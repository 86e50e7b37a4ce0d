"""Latencies of single runs, the cost of a step by the length of its run, open gates."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator, Sequence
from statistics import median, quantiles
from typing import Any
from uuid import UUID

import psycopg
from django.db.models import Max, Min

from approvals.models import Gate
from execfabric.identity import services as accounts
from execfabric.lib import clock
from execfabric.local.service import ServiceProcess
from orchestration.runs import dispatch
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Run, StepRun
from tests.bench import parts, plans
from tests.bench.people import People, patiently
from tests.builders import open_gate
from tests.chaos.stage import Stage

POLL_S = 0.001
STATE = "SELECT state FROM runs_run WHERE id = %s"
GATES_PER_RUN = 100


def latencies(
    stage: Stage, who: People, text: str, count: int
) -> dict[str, list[float]]:
    """Return milliseconds of runs of a plan, one at a time, to what a poller sees."""
    from_approval, from_claim = [], []
    with psycopg.connect(stage.endpoints.database_url, autocommit=True) as database:
        for run in who.propose(text, count):
            begun = time.time()
            who.approve(run)
            _await_end(database, run)
            end = time.time()
            claimed = run.steps.aggregate(first=Min("started_at"))["first"]
            from_approval.append((end - begun) * 1000)
            from_claim.append((end - claimed.timestamp()) * 1000)
    return {"from_approval": from_approval, "from_first_claim": from_claim}


def gate_to_start(
    stage: Stage, who: People, count: int, warm_up: int
) -> dict[str, list[float]]:
    """Return milliseconds from an approval to the first instruction of its step."""
    from_call, from_commit, from_click = [], [], []
    with (
        psycopg.connect(stage.endpoints.database_url, autocommit=True) as database,
        _commits() as commits,
    ):
        for run in _at_their_gate(who, count):
            called = time.time()
            who.approve(run, "s0")
            committed = commits[-1]
            began = _began(database, run)
            from_call.append((began - called) * 1000)
            from_commit.append((began - committed) * 1000)
        with _console(stage, who) as click:
            for run in _at_their_gate(who, warm_up + count):
                clicked = click(run)
                from_click.append((_began(database, run) - clicked) * 1000)
    return {
        "from_commit": from_commit,
        "from_service": from_call,
        "from_request": from_click[warm_up:],
    }


def by_length(
    stage: Stage, who: People, worker: ServiceProcess, sizes: dict[int, int]
) -> dict[int, dict[str, float]]:
    """Return the cost of a step in runs of so many steps, one run at a time.

    `sizes` says how many runs of each length.
    """
    found = {}
    for length, count in sizes.items():
        runs = who.propose(plans.chain(length), count)
        meter = parts.Meter(stage, worker)
        before = sum(meter.read().values())
        elapsed = 0.0
        with psycopg.connect(stage.endpoints.database_url, autocommit=True) as database:
            for run in runs:
                who.approve(run)
                _await_end(database, run, poll_s=0.02)
                ends = run.steps.aggregate(a=Min("started_at"), b=Max("finished_at"))
                elapsed += (ends["b"] - ends["a"]).total_seconds()
        steps = length * count
        found[length] = {
            "ms": elapsed * 1000 / steps,
            "cpu_ms": (sum(meter.read().values()) - before) / steps,
        }
    return found


def open_gates(
    stage: Stage, who: People, worker: ServiceProcess, count: int
) -> dict[str, float]:
    """Return what gates that wait cost: memory, rows, and the speed of all else."""
    width = min(GATES_PER_RUN, count)
    before = _cost(stage, who, worker)
    for run in who.propose(plans.many_gates(width), count // width):
        who.approve(run)
    after = _cost(stage, who, worker)
    return {
        "gates": Gate.objects.filter(status="requested").count(),
        "running_steps": StepRun.objects.filter(state="running").count(),
        **{f"{name}_before": value for name, value in before.items()},
        **{f"{name}_after": value for name, value in after.items()},
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile."""
    top = quantiles(values, n=100)[98] if len(values) > 1 else values[0]
    return {"p50": median(values), "p99": min(top, max(values))}


def _cost(stage: Stage, who: People, worker: ServiceProcess) -> dict[str, float]:
    begun = time.perf_counter()
    sweep.sweep(at=clock.now())
    swept = time.perf_counter() - begun
    chains = latencies(stage, who, plans.chain(10), 5)
    return {
        "worker_mib": parts.rss_mib(worker),
        "sweep_ms": swept * 1000,
        "chain_ms": median(chains["from_approval"]),
    }


def _at_their_gate(who: People, count: int) -> list[Run]:
    """Return approved runs whose only step waits for its own approval."""
    runs = who.propose(plans.gated(), count)
    for run in runs:
        who.approve(run)
    return runs


@contextlib.contextmanager
def _commits() -> Iterator[list[float]]:
    """Note when each hint is sent: the first thing that happens after a commit."""
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


@contextlib.contextmanager
def _console(stage: Stage, who: People) -> Iterator[Any]:
    """Run a web server; return what approves a step through it and says when."""
    operator = who.operator
    token = accounts.create_token(
        holder=operator, label="bench", by=operator.actor(), at=clock.now()
    )
    with parts.web(stage.env) as (_, port):
        server = http.client.HTTPConnection("127.0.0.1", port)

        def click(run: Run) -> float:
            gate = open_gate(run, "s0")
            answer = {"approve": True, "digest": bytes(gate.digest).hex()}
            clicked = time.time()
            server.request(
                "POST",
                f"/api/v1/gates/{gate.pk}/decisions",
                body=json.dumps(answer),
                headers={
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/json",
                },
            )
            response = server.getresponse()
            said = response.read()
            if response.status != http.client.CREATED:
                raise RuntimeError(said)
            return clicked

        yield click
        server.close()


def _began(database: psycopg.Connection[Any], run: Run) -> float:
    """Return the time that the handler of a run's only step read first."""
    _await_end(database, run)
    return float((run.steps.get().output or {})["at"])


def _await_end(
    database: psycopg.Connection[Any], run: Run, *, poll_s: float = POLL_S
) -> None:
    for _ in patiently(poll_s):
        row = database.execute(STATE, [run.pk]).fetchone()
        if row and row[0] == "succeeded":
            return
