"""Workers that cached a run before another worker added steps to it."""

import pytest

from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.plans.services import saving
from orchestration.runs.control import control
from orchestration.runs.domain.results import Failure
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import RunCache
from orchestration.trace.services import streams
from tests.builders import DONE, approved, driven, plan, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

BAD = Failure("lab.failed", "The target said no.")
ADDING = {
    "list": step("adds", after="a", forEach=[1, 2, 3], max=1),
    "sub-plan": {"id": "adds", "kind": "plan", "plan": "inner", "dependsOn": ["a"]},
}
ADDING["list of sub-plans"] = ADDING["sub-plan"] | {"forEach": [1, 2]}


class Worker:
    """A worker with its own cache, which holds one lease at a time."""

    def __init__(self, name):
        self.name, self.cache, self.lease = name, RunCache(), None

    def claims(self, run, key):
        self.lease = attempts.claim(
            step_run_id=run.steps.get(key=key).id,
            worker=self.name,
            session=span_id(),
            at=clock.now(),
            cache=self.cache,
        )
        return self.lease

    def completes(self, result=DONE):
        self.lease = attempts.complete(
            self.lease,
            result,
            worker=self.name,
            session=span_id(),
            at=clock.now(),
            cache=self.cache,
        )
        return self.lease

    def known(self, run):
        cached = self.cache.pop(run.id)
        self.cache.put(cached)
        return set(cached.steps)


@pytest.fixture
def workers():
    return Worker("one"), Worker("other")


def begun(run, workers, first):
    """Let a worker cache the run with step `other` before one takes the first step."""
    one, other = workers
    assert other.claims(run, "other")
    assert one.claims(run, first)
    return run


@pytest.mark.parametrize("kind", ADDING)
def test_a_container_does_not_end_before_steps_that_a_worker_does_not_know(
    proposer, operator, worker, workers, kind
):
    inner = plan(step("s1"), step("s2"), step("s3", after=["s1", "s2"]), id="inner")
    saving.save_plan(text=inner, by=proposer.actor(), at=clock.now())
    text = plan(step("a"), step("other"), ADDING[kind], parallel={"max": 3})
    one, other = workers
    run = begun(approved(text, proposer, operator), workers, "a")

    assert one.completes()
    control.pause(run_id=run.id, by=operator.actor(), reason="", at=clock.now())
    one.completes()
    other.completes()

    run.refresh_from_db()
    assert run.state == "paused"
    assert run.steps.get(key="adds", parent=None).state == "expanded"
    assert other.known(run) == set(run.steps.values_list("id", flat=True))

    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    assert driven(run, worker).state == "succeeded"
    assert set(run.steps.values_list("state", flat=True)) == {"succeeded"}
    assert streams.verify_stream(run.stream).differences == []


def test_a_sub_plan_runs_its_last_step_if_another_worker_ends_the_one_before(
    proposer, operator, worker, workers
):
    inner = plan(step("s1"), step("s2"), step("s3", after=["s1", "s2"]), id="inner")
    saving.save_plan(text=inner, by=proposer.actor(), at=clock.now())
    text = plan(step("a"), step("other"), ADDING["sub-plan"], parallel={"max": 3})
    one, other = workers
    run = begun(approved(text, proposer, operator), workers, "a")

    assert one.completes().key == "s1"
    assert other.completes().key == "s2"
    assert one.completes() is None
    assert other.completes().key == "s3"

    assert run.steps.get(key="adds").state == "expanded"


def test_a_worker_learns_of_a_fallback_that_another_one_has_added(
    proposer, operator, worker, workers
):
    fallback = {"skill": "lab", "action": "echo"}
    text = plan(step("q", fallback=fallback), step("other"), parallel={"max": 2})
    one, other = workers
    run = begun(approved(text, proposer, operator), workers, "q")

    control.pause(run_id=run.id, by=operator.actor(), reason="", at=clock.now())
    one.completes(BAD)
    other.completes()

    assert run.steps.get(key="q").state == "falling_back"
    assert other.known(run) == set(run.steps.values_list("id", flat=True))
