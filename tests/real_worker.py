"""A worker process of the product that carries out the runs of a test."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db.models import Max

from approvals.models import INPUT, Gate
from execfabric.identity.models import User
from execfabric.lib import canonical, clock
from orchestration.plans.domain import asking
from orchestration.runs.control import answers, events
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.keeper import sweep
from orchestration.runs.models import EventWait, Run
from tests.broker import Broker
from tests.builders import OPEN, decided
from tests.servers import eventually, spawn
from tests.web_server import database_url

AT_WORK = (StepState.READY, StepState.RUNNING)
SECONDS = 120
"""How long a worker may take until it has done all that is ready."""


@contextmanager
def working(folder: Path, **environment: str) -> Iterator[None]:
    """Start a worker with a broker of its own, to which this process sends its hints."""
    broker = Broker(folder / "data")
    broker.start()
    env = {"DATABASE_URL": database_url(), "REDIS_URL": broker.url, **environment}
    with ExitStack() as ends, broker.in_use():
        ends.callback(broker.kill)
        worker = spawn("worker", env, concurrency=2)
        ends.callback(worker.kill9)
        worker.wait_ready(180)
        yield


def done(run: Run) -> Run:
    """Return a run after the worker has done all that is ready."""

    def is_idle() -> bool:
        run.refresh_from_db()
        if run.state in FINAL_RUN:
            return True
        is_stopping = run.state in {RunState.PAUSING, RunState.CANCELLING}
        return not is_stopping and not run.steps.filter(state__in=AT_WORK).exists()

    assert eventually(is_idle, within=SECONDS), _where(run)
    return run


def _where(run: Run) -> str:
    steps = run.steps.order_by("position").values_list("key", "state")
    return f"The run is {run.state}: {[*steps]}"


@dataclass
class People:
    """Those who decide, answer and send what the steps of a run wait for."""

    operator: User
    payloads: Mapping[str, Any] = field(default_factory=dict)
    """The content of an event by its type."""
    payload: Any = None
    """The content of all other events."""
    approve: bool = True

    def finish(self, run: Run) -> Run:
        """Return a run that has ended, or is paused by a failure.

        Whenever the worker has nothing to do, people decide and answer all that is open,
        the other systems send what is expected, and the keeper finds that the time of the
        last wait has come.
        """
        while done(run).state not in FINAL_RUN | {RunState.PAUSED}:
            for gate in Gate.objects.filter(context_id=run.pk, status__in=OPEN):
                if gate.subject_kind == INPUT:
                    self.answer(gate)
                else:
                    decided(gate, self.operator, approve=self.approve)
            for wait in EventWait.objects.filter(step_run__run=run, match=None):
                self.send(wait)
            sweep.sweep(at=_end_of_wait(run) or clock.now())
        return run

    def answer(self, gate: Gate) -> None:
        """Answer a form with its examples and defaults."""
        form = canonical.loads(bytes(gate.subject))["form"]
        answers.answer(
            gate_id=gate.pk,
            by=self.operator.actor(),
            digest=gate.digest_hex,
            values=asking.example_of(form) or {},
            channel="api",
            at=clock.now(),
        )

    def send(self, wait: EventWait) -> None:
        """Send the event that a step waits for."""
        events.send(
            type=wait.type,
            key=wait.key,
            payload=self.payloads.get(wait.type, self.payload),
            by=self.operator.actor(),
            at=clock.now(),
        )


def _end_of_wait(run: Run) -> datetime | None:
    """Return when the last wait of a run ends."""
    waiting = run.steps.filter(state=StepState.WAITING)
    ends_at: datetime | None = waiting.aggregate(at=Max("not_before"))["at"]
    return ends_at
