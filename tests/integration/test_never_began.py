"""A step that was claimed and certainly never began runs again, whatever its class."""

from contextlib import suppress
from datetime import timedelta

import psutil
import pytest

from audit import selectors as record
from audit.models import Event
from execfabric.lib import clock
from orchestration.runs.control import control, stops
from orchestration.runs.engine import artifacts, attempts
from orchestration.runs.keeper import sweep
from orchestration.runs.models import StepRun
from orchestration.runs.worker import give_back, monitor, work
from orchestration.runs.worker.monitor import AttemptMonitor, LeaseLost
from orchestration.skills.execution import Runner
from tests.builders import approved, driven, plan, states, step
from tests.record import is_whole
from tests.servers import eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


class Killed(BaseException):
    """The worker does nothing more from here on."""


@pytest.fixture
def run(settings, tmp_path, proposer, operator):
    """Return a run of one effect that cannot be repeated."""
    settings.WORKER_DIR = tmp_path / "workers"
    text = plan(step("effect", "witness", params={"mark": "once"}))
    return approved(text, proposer, operator)


def worker_dies(run, monkeypatch, owner, name):
    """Kill a worker that has claimed the step, and release its locks."""
    worker = work.WorkerContext(name="doomed")
    step_run_id = run.steps.get().id

    def dies(*_, **__):
        if (owner, name) == AFTER:
            session = run.steps.get().attempts.get().session_id
            assert eventually(lambda: worker.notes.has_begun(session))
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, dies)
        with pytest.raises(Killed):
            work.work(step_run_id=step_run_id, context=worker)
    worker.runner.kill()
    worker.notes.close()


BEFORE = artifacts, "local_paths"
AFTER = Runner, "poll"


def lapse():
    """End the lease, and sweep as a keeper on another host."""
    StepRun.objects.update(lease_until=clock.now() - timedelta(minutes=1))
    sweep._expired_leases(sweep.Quarantine(by=sweep.BY, at=clock.now()))


@pytest.mark.parametrize("is_lapsed", [False, True])
def test_what_a_dead_worker_claimed_and_did_not_hand_over_is_given_back(
    is_lapsed, run, settings, worker, witness, monkeypatch
):
    worker_dies(run, monkeypatch, *BEFORE)
    assert states(run) == {"effect": "running"}
    if is_lapsed:
        lapse()
        assert states(run) == {"effect": "indeterminate"}

    waiting = give_back.of_dead_workers(at=clock.now())

    assert (waiting, states(run)) == (0, {"effect": "ready"})
    assert not [*settings.WORKER_DIR.iterdir()]
    event = Event.objects.get(kind="step.not_started")
    assert (
        record.envelope(event)["payload"]["evidence"]
        == "The worker ended before it started the step."
    )
    assert states(driven(run, worker)) == {"effect": "succeeded"}
    assert len(witness.read()) == 1


def test_what_a_dead_worker_handed_over_stays_unknown(run, settings, monkeypatch):
    worker_dies(run, monkeypatch, *AFTER)
    lapse()

    sweep.sweep(at=clock.now())

    assert states(run) == {"effect": "indeterminate"}
    assert not [*settings.WORKER_DIR.iterdir()]


@pytest.fixture
def runner_dies(worker, monkeypatch):
    """Stop the runner before it reads the call, and kill it once that is sent."""
    worker.runner.start()
    guardian = psutil.Process(worker.runner._program.pid)
    assert eventually(guardian.children)
    (runner,) = guardian.children()
    runner.suspend()
    poll = Runner.poll

    def polled(*given):
        with suppress(psutil.NoSuchProcess):
            runner.kill()
        return poll(*given)

    monkeypatch.setattr(Runner, "poll", polled)


@pytest.mark.usefixtures("runner_dies")
def test_a_call_that_a_killed_runner_did_not_read_never_began(run, worker, witness):
    work.work(step_run_id=run.steps.get().id, context=worker)

    assert states(run) == {"effect": "ready"}
    assert witness.read() == []
    assert states(driven(run, worker)) == {"effect": "succeeded"}
    assert len(witness.read()) == 1


def test_a_call_that_a_frozen_runner_did_not_read_never_began(
    run, worker, witness, monkeypatch
):
    worker.runner.start()
    guardian = psutil.Process(worker.runner._program.pid)
    assert eventually(guardian.children)
    guardian.children()[0].suspend()

    def beat(watch):
        if worker.runner.busy:
            lapse()
            raise LeaseLost

    monkeypatch.setattr(AttemptMonitor, "heartbeat", beat)
    work.work(step_run_id=run.steps.get().id, context=worker)
    monkeypatch.undo()

    assert states(run) == {"effect": "ready"}
    assert witness.read() == []
    assert states(driven(run, worker)) == {"effect": "succeeded"}


@pytest.mark.usefixtures("runner_dies")
def test_a_step_fails_whose_runner_dies_each_time_before_it_begins(run, worker):
    worker.deaths = work.MAX_DEATHS - 1

    work.work(step_run_id=run.steps.get().id, context=worker)

    assert states(run) == {"effect": "failed"}
    assert run.steps.get().error["ran"] is False


def test_the_keeper_gives_back_before_it_looks_at_leases(run, settings, monkeypatch):
    worker_dies(run, monkeypatch, *BEFORE)
    StepRun.objects.update(lease_until=clock.now() - timedelta(minutes=1))

    sweep.sweep(at=clock.now())

    assert states(run) == {"effect": "ready"}
    assert not Event.objects.filter(kind="step.outcome_unknown")


def test_a_claim_that_may_still_be_on_its_way_is_waited_for(run, settings, monkeypatch):
    worker_dies(run, monkeypatch, *BEFORE)
    monkeypatch.setattr(attempts, "not_started", lambda *given, **named: False)

    first = give_back.of_dead_workers(at=clock.now())
    settings.LEASE_SECONDS = 0
    second = give_back.of_dead_workers(at=clock.now())

    assert (first, second) == (1, 0)
    assert not [*settings.WORKER_DIR.iterdir()]


def test_a_claim_that_arrives_after_the_look_is_looked_for_again(
    run, settings, monkeypatch
):
    worker_dies(run, monkeypatch, *BEFORE)

    def look_slowly(*_: object, **__: object) -> bool:
        settings.LEASE_SECONDS = 0
        return False

    monkeypatch.setattr(attempts, "not_started", look_slowly)

    assert give_back.of_dead_workers(at=clock.now()) == 1
    assert [*settings.WORKER_DIR.iterdir()]


@pytest.mark.parametrize("how", ["cancel", "stop", "stop that cancels"])
def test_a_step_that_has_not_begun_does_not_begin_after_a_cancel_or_stop(
    how, run, worker, witness, operator, monkeypatch
):
    """Although its intent is committed, and its effect cannot be repeated."""

    def meanwhile(*_):
        by, at = operator.actor(), clock.now()
        if how == "cancel":
            control.cancel(run_id=run.pk, by=by, at=at)
        else:
            cancel = how != "stop"
            stops.stop(skill="lab", reason="Down.", cancel=cancel, by=by, at=at)
            sweep.sweep(at=clock.now())
        return {}

    monkeypatch.setattr(monitor, "PROMPT_S", 0)
    monkeypatch.setattr(artifacts, "local_paths", meanwhile)
    work.work(step_run_id=run.steps.get().id, context=worker)

    assert witness.read() == []
    run.refresh_from_db()
    ended = ("running", "ready") if how == "stop" else ("cancelled", "cancelled")
    assert (run.state, states(run)["effect"]) == ended
    assert is_whole(run)


def test_a_stop_of_another_skill_lets_a_claimed_step_begin(
    run, worker, witness, operator, monkeypatch
):
    def meanwhile(*_):
        by, at = operator.actor(), clock.now()
        stops.stop(skill="http", reason="Down.", cancel=True, by=by, at=at)
        return {}

    monkeypatch.setattr(monitor, "PROMPT_S", 0)
    monkeypatch.setattr(artifacts, "local_paths", meanwhile)

    assert states(driven(run, worker)) == {"effect": "succeeded"}


def test_a_worker_frozen_before_the_hand_over_starts_nothing_late(
    run, worker, witness, monkeypatch
):
    def frozen(*_):
        monkeypatch.undo()
        lapse()
        assert states(run) == {"effect": "indeterminate"}
        monkeypatch.setattr(clock, "since_boot", lambda: later)
        return {}

    later = clock.since_boot() + 3600
    monkeypatch.setattr(artifacts, "local_paths", frozen)

    ready = run.steps.get()
    work.work(step_run_id=ready.id, context=worker)

    assert states(run) == {"effect": "ready"}
    assert witness.read() == []
    monkeypatch.undo()
    assert states(driven(run, worker)) == {"effect": "succeeded"}
