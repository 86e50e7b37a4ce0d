"""The seats of a real worker: broken brokers, killed processes, and its stop."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import psutil
import pytest

from execfabric.local import processes
from orchestration.runs import dispatch
from orchestration.runs.models import Run, StepRun
from orchestration.runs.tasks import HintPoller
from tests.builders import a_worker, approved, plan, states, step
from tests.servers import Spawned, eventually, spawn
from tests.web_server import database_url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def worker(broker) -> Iterator[Spawned]:
    env = {"DATABASE_URL": database_url(), "REDIS_URL": broker.url}
    made = spawn("worker", env, concurrency=1)
    made.wait_ready(180)
    yield made
    made.kill9()


def ends(run: Run) -> bool:
    """Hint until the run has ended well, as the keeper does."""

    def ended() -> bool:
        run.refresh_from_db()
        ready = StepRun.objects.filter(run=run, state="ready")
        dispatch.send(list(ready.values_list("id", flat=True)))
        return run.state == "succeeded"

    return eventually(ended, within=60)


def seats(worker: Spawned) -> set[int]:
    """Return the pool processes of a worker."""
    return {child.pid for child in psutil.Process(worker.pid).children()}


def test_a_seat_outlives_its_broker_and_is_replaced_when_killed(
    proposer, operator, broker, worker
) -> None:
    def works() -> bool:
        return ends(approved(plan(step("a")), proposer, operator))

    assert works()
    broker.kill()
    broker.start()
    assert works()

    before = seats(worker)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert works()
    assert not seats(worker) & before

    dispatch._broker().lpush(dispatch.STEPS, "not an id", b"\xff", "")
    assert works()
    assert seats(worker)


def test_a_worker_that_is_asked_to_stop_finishes_the_step_in_hand(
    proposer, operator, broker, worker, witness
) -> None:
    slow = step("a", "witness", params={"mark": "began", "after": 3})
    follows = step("b", after="a")
    run = approved(plan(slow, follows), proposer, operator)
    assert eventually(witness.read, within=60)

    worker.running.child.terminate()

    worker.running.child.wait(60)
    assert states(run) == {"a": "succeeded", "b": "ready"}
    assert dispatch.next_hint(1) == str(run.steps.get(key="b").id)
    assert left_of(worker.pid) == []


def test_a_hint_that_comes_while_a_seat_ends_is_given_back(broker):
    seat = HintPoller(a_worker())
    seat.start()
    time.sleep(0.3)
    ending = threading.Thread(target=seat.end)
    ending.start()
    hint = uuid4()

    dispatch.send([hint])

    ending.join()
    assert dispatch.next_hint(1) == str(hint)


def test_a_killed_worker_takes_its_seats_and_runners_along(
    proposer, operator, broker, worker, witness
) -> None:
    slow = step("a", "witness", params={"mark": "began", "after": 25})
    run = approved(plan(slow), proposer, operator)
    assert eventually(witness.read, within=60)

    os.kill(worker.pid, signal.SIGKILL)

    assert eventually(lambda: not left_of(worker.pid), within=20)
    assert run.steps.get().state == "running"


def left_of(worker: int) -> list[psutil.Process]:
    """Every process that a worker has left behind in its session."""
    return processes.family(worker)


def test_a_seat_survives_an_error_that_no_one_expects(settings):
    settings.REDIS_URL = "not an address"
    dispatch._broker.cache_clear()
    seat = HintPoller(a_worker())
    seat.start()

    seat.join(0.3)

    assert seat.is_alive()
    seat.end()
    dispatch._broker.cache_clear()
