"""Probes by the processes of the product, whose workers are killed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from audit import selectors as audit
from execfabric.lib import clock
from orchestration.runs import dispatch
from orchestration.runs.keeper import sweep
from orchestration.runs.models import LogChunk, Run, StepRun
from tests.builders import approved, plan, step
from tests.database import record_attempts
from tests.record import is_whole, kinds
from tests.servers import eventually, spawn
from tests.web_server import database_url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "witness"),
]
SECONDS = 180
"""How long a loaded machine may take."""


@contextmanager
def working(broker, until: Callable[[], object]) -> Iterator[None]:
    """Start a worker, and kill its whole group with signal 9 once something is true."""
    env = {"DATABASE_URL": database_url(), "REDIS_URL": broker.url}
    worker = spawn("worker", env, concurrency=2)
    try:
        worker.wait_ready(SECONDS)
        yield
        assert eventually(until, within=SECONDS), worker.log.read_text()[-3000:]
    finally:
        worker.kill9()


def test_after_kill_9_the_target_decides_and_each_effect_happens_once(
    proposer, operator, witness, broker, tmp_path
):
    """One worker group dies after an effect and before another; no one is asked."""
    hold, after = tmp_path / "hold", tmp_path / "after"
    hold.touch()
    after.touch()

    def run_of(**params: object) -> Run:
        steps = step("effect", "probed", params=params), step("next", after="effect")
        return approved(plan(*steps), proposer, operator)

    done = run_of(mark="done", **{"while": str(after)})
    held = run_of(mark="held", hold=str(hold), say=100)
    effects = [run.steps.get(key="effect").pk for run in (done, held)]

    def has_begun() -> bool:
        said = LogChunk.objects.filter(step_run__run=held).exists()
        return said and len(witness.read()) == 1

    with working(broker, has_begun):
        dispatch.send(effects)
    hold.unlink()
    after.unlink()
    assert len(witness.read()) == 1
    record_attempts(timedelta(hours=1))
    StepRun.objects.filter(pk__in=effects).update(
        lease_until=clock.now() - timedelta(minutes=1)
    )

    def have_ended() -> bool:
        sweep.sweep(at=clock.now())
        runs = Run.objects.filter(pk__in=[done.pk, held.pk])
        return {run.state for run in runs} == {"succeeded"}

    with working(broker, have_ended):
        pass
    assert sorted(line.split()[0] for line in witness.read()) == ["done", "held"]
    assert "step.resolved" in kinds(done, "effect")
    assert "step.did_not_happen" in kinds(held, "effect")
    for run in (done, held):
        assert not asked(run, operator)
        assert is_whole(run)


def asked(run: Run, operator) -> bool:
    """Return True if a person has acted after the outcome was unknown."""
    events = audit.events_after(run.stream, 0, limit=500)
    unknown = next(each.seq for each in events if each.kind == "step.outcome_unknown")
    people = {operator.actor().key, run.proposer}
    return any(each.actor in people for each in events if each.seq > unknown)
