"""A flow continues where it was after every restart, and no one polls for it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from audit import selectors as audit
from execfabric.lib import clock
from execfabric.local import commands
from orchestration.runs import dispatch
from orchestration.runs.control import events
from orchestration.runs.models import Run, StepRun
from orchestration.runs.tasks import follow
from orchestration.trace.services import streams
from tests.broker import Broker
from tests.builders import (
    a_worker,
    approved,
    decided,
    open_gate,
    outputs,
    plan,
    states,
    step,
)
from tests.servers import (
    Spawned,
    begin_and_wait,
    environment,
    eventually,
    spawn,
)
from tests.web_server import database_url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

FLOW = plan(
    step("scan", params={"score": 12}),
    step("deep", after="scan", when="steps.scan.output.score > 10"),
    step("quick", after="scan", when="steps.scan.output.score <= 10"),
    {"id": "ask", "kind": "approval", "dependsOn": ["deep", "quick"]},
    step("each", after="ask", forEach=["a", "b"], params={"value": "$item"}),
    {"id": "paid", "kind": "wait", "event": {"type": "paid"}, "dependsOn": ["each"]},
    step("last", after="paid", params={"items": "$each.output.items"}),
)


def worked(*, restarts: bool) -> int:
    """Follow the hints that have arrived; return how many steps workers have done.

    With restarts, each worker ends after one step, and the next one remembers nothing.
    Nothing else looks for work: there is no keeper.
    """
    done = 0
    while hint := dispatch.next_hint(1):
        with closing(a_worker()) as context:
            context.is_ending = restarts
            done += follow(hint, context)
    return done


def log_of(run: Run) -> list[tuple[str, str, int | None]]:
    """Return the events; a worker that goes on at once merges released and started."""
    return [
        (one.kind, one.step, audit.envelope(one)["payload"].get("item"))
        for one in audit.events_after(run.stream, 0, limit=500)
        if one.kind != "step.released"
    ]


def test_a_flow_resumes_the_same_way_after_each_restart_without_polling(
    broker, proposer, operator
) -> None:
    runs, logs = [], []
    for restarts in (False, True):
        run = approved(FLOW, proposer, operator)
        assert worked(restarts=restarts) == 2
        # Everything is down when it is decided; the next worker hears of it at once.
        decided(open_gate(run, "ask"), operator)
        assert worked(restarts=restarts) == 2
        with CaptureQueriesContext(connection) as idle:
            assert dispatch.next_hint(0.2) is None
        assert [*idle] == []
        events.send(
            type="paid", key="", payload={}, by=proposer.actor(), at=clock.now()
        )
        assert worked(restarts=restarts) == 1
        run.refresh_from_db()
        runs.append(run)
        logs.append(log_of(run))

    assert [run.state for run in runs] == ["succeeded", "succeeded"]
    assert logs[0] == logs[1]
    assert outputs(runs[0]) == outputs(runs[1])
    assert outputs(runs[1])["last"] == {"items": [{"value": "a"}, {"value": "b"}]}
    for run in runs:
        assert streams.verify_stream(run.stream).differences == []
        attempts = [row.attempts.count() for row in run.steps.filter(kind="skill")]
        assert set(attempts) <= {0, 1}


class Processes:
    """A worker and a keeper that look for lost hints at their start only."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "DATABASE_URL": database_url(),
            "REDIS_URL": broker.url,
            "EXECFABRIC_LEASE_SECONDS": "5",
            "EXECFABRIC_HINT_AGAIN_SECONDS": "86400",
        }
        self.ends = ExitStack()

    def worker(self) -> Spawned:
        made = spawn("worker", self.env, concurrency=1)
        self.ends.callback(made.kill9)
        return made.wait_ready(180)

    def keeper(self) -> None:
        """Start a keeper and wait until it has swept; it will not sweep again."""
        wanted = commands.keeper(
            environment(self.env), ready_file=self.folder / "ready"
        )
        once = replace(wanted, argv=[*wanted.argv, "--every", "86400"])
        self.ends.callback(begin_and_wait(once).kill)


@pytest.fixture
def processes(broker, tmp_path) -> Iterator[Processes]:
    made = Processes(broker, tmp_path)
    with made.ends:
        yield made


def comes_to(run: Run, **wanted: str) -> bool:
    return eventually(lambda: states(run).items() >= wanted.items(), within=120)


@pytest.mark.promise("S4.12")
def test_runs_resume_when_the_broker_and_all_processes_were_killed(
    proposer, operator, broker, processes, witness, tmp_path
) -> None:
    obstacle = tmp_path / "obstacle"
    flow = plan(
        step("scan", "witness", params={"mark": "scan"}),
        {"id": "ask", "kind": "approval", "dependsOn": ["scan"]},
        step(
            "slow",
            "witness-again",
            after="ask",
            params={"mark": "$scan.output.mark", "while": str(obstacle)},
        ),
        step("last", "witness", after="slow", params={"mark": "$slow.output.mark"}),
    )
    worker = processes.worker()
    undisturbed, decided_later, cut_off = runs = [
        approved(flow, proposer, operator) for _ in range(3)
    ]
    assert all(comes_to(run, ask="gated") for run in runs)
    decided(open_gate(undisturbed, "ask"), operator)
    assert comes_to(undisturbed, last="succeeded")
    obstacle.touch()
    decided(open_gate(cut_off, "ask"), operator)
    assert eventually(lambda: len(witness.read()) == 6, within=120)

    broker.kill()
    decided(open_gate(decided_later, "ask"), operator)
    worker.kill9()
    assert [states(run)["slow"] for run in runs] == ["succeeded", "ready", "running"]
    obstacle.unlink()
    expired = StepRun.objects.filter(state="running", lease_until__lt=Now())
    assert eventually(expired.exists, within=60)
    broker.start()
    processes.keeper()
    processes.worker()

    assert all(comes_to(run, last="succeeded") for run in runs)
    expected = log_of(undisturbed)
    assert log_of(decided_later) == expected
    began = expected.index(("step.started", "slow", None)) + 1
    again = [("step.lease_lost", "slow", None), ("step.started", "slow", None)]
    assert log_of(cut_off) == [*expected[:began], *again, *expected[began:]]
    assert outputs(decided_later) == outputs(cut_off) == outputs(undisturbed)
    # Only the step whose worker was killed has run twice.
    assert sorted(Counter(witness.read()).values()) == [1] * 8 + [2]
    for run in runs:
        assert streams.verify_stream(run.stream).differences == []
