"""Steps that wait for an event, and events that arrive before, after and twice."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection

from execfabric.lib import clock
from orchestration.plans.services import saving
from orchestration.runs.control import control, events, proposals
from orchestration.runs.engine import events as engine
from orchestration.runs.errors import (
    KeyReused,
)
from orchestration.runs.keeper import sweep
from orchestration.runs.models import EventMatch, EventWait, ExternalEvent
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    decided,
    driven,
    end_dry_runs,
    open_gate,
    outputs,
    plan,
    states,
    step,
)
from tests.integration.event_builders import (
    PAYLOAD,
    TEXT,
    awaits,
    sent,
    waiting,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]


def verified(run):
    for stream in (run.stream, "events"):
        result = streams.verify_stream(stream)
        assert (result.broken, result.differences) == (None, [])


def test_an_event_ends_the_wait_with_its_key_only(proposer, operator, worker):
    run, other = (waiting(proposer, operator, key) for key in ("7", "8"))
    done = sent(operator)
    run = driven(run, worker)

    assert done.waits == 1
    assert run.state == "succeeded"
    assert outputs(run) == {"paid": PAYLOAD, "book": {"amount": 120}}
    assert states(other)["paid"] == "waiting"
    assert run.steps.get(key="paid").not_before is None
    verified(run)
    verified(other)


def test_an_event_before_the_wait_is_kept_for_the_first_one(proposer, operator, worker):
    done = sent(operator)
    first = driven(waiting(proposer, operator), worker)
    second = waiting(proposer, operator)

    assert done.waits == 0
    assert outputs(first)["book"] == {"amount": 120}
    assert states(second)["paid"] == "waiting"
    assert EventMatch.objects.count() == 1
    verified(first)


def test_all_waits_that_are_open_get_the_event(proposer, operator):
    runs = [waiting(proposer, operator) for _ in range(3)]
    done = sent(operator)
    late = waiting(proposer, operator)

    assert done.waits == len(runs)
    assert {states(run)["paid"] for run in runs} == {"succeeded"}
    assert states(late)["paid"] == "waiting"


def test_an_event_is_kept_for_thirty_days(proposer, operator):
    at = clock.now()
    sent(operator, at=at - timedelta(days=30))
    late = waiting(proposer, operator)
    sent(operator, key="8", at=at - timedelta(days=29))
    early = waiting(proposer, operator, "8")

    assert states(late)["paid"] == "waiting"
    assert states(early)["paid"] == "succeeded"


def test_the_same_event_twice_is_one_event(proposer, operator, worker):
    run = waiting(proposer, operator)
    first = sent(operator, event_id="evt-1")
    again = sent(operator, event_id="evt-1")
    later = waiting(proposer, operator)

    assert (again.event.pk, again.waits) == (first.event.pk, 1)
    assert ExternalEvent.objects.count() == 1
    assert states(later)["paid"] == "waiting"
    with pytest.raises(KeyReused):
        sent(operator, event_id="evt-1", payload={"amount": 1})
    assert driven(run, worker).state == "succeeded"


def test_an_event_that_never_comes_fails_the_step_and_may_be_awaited_again(
    proposer, operator, worker
):
    run = waiting(proposer, operator)
    late = clock.now() + timedelta(days=14, minutes=1)
    sweep.sweep(at=late)
    run.refresh_from_db()
    failed = run.steps.get(key="paid")
    too_late = sent(operator)
    before = states(run)["paid"]
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert (failed.state, failed.error["code"]) == ("failed", "wait.expired")
    assert failed.error["message"] == (
        "No event invoice.paid with key 7 arrived in time."
    )
    assert (too_late.waits, before) == (0, "failed")
    assert run.state == "succeeded"
    assert EventWait.objects.count() == 2
    verified(run)


def test_an_event_after_the_deadline_does_not_end_a_wait_of_a_paused_run(
    proposer, operator
):
    run = waiting(proposer, operator)
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    late = sent(operator, at=clock.now() + timedelta(days=15))

    assert late.waits == 0
    assert states(run)["paid"] == "waiting"


def test_a_paused_run_takes_its_event(proposer, operator, worker):
    run = waiting(proposer, operator)
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    sent(operator)
    paused = states(run)
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())

    assert paused == {"paid": "succeeded", "book": "pending"}
    assert driven(run, worker).state == "succeeded"


def test_a_cancelled_wait_leaves_the_event_to_the_next(proposer, operator):
    run = waiting(proposer, operator)
    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())
    assert sent(operator).waits == 0

    assert states(waiting(proposer, operator))["paid"] == "succeeded"


def test_the_keeper_completes_a_step_if_the_sender_could_not(
    proposer, operator, worker, monkeypatch
):
    run = waiting(proposer, operator)

    def broken(*_, **__):
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(events, "locked_change", broken)
        done = sent(operator)
    before = states(run)["paid"]
    # Also after the deadline: the event was in time.
    sweep.sweep(at=clock.now() + timedelta(days=15))

    assert (done.waits, before) == (1, "waiting")
    assert driven(run, worker).state == "succeeded"


def test_an_event_that_a_cancelled_step_did_not_get_ends_another_wait(
    proposer, operator, worker, monkeypatch
):
    first = waiting(proposer, operator)
    with monkeypatch.context() as patch:
        patch.setattr(events, "_deliver", lambda *_, **__: None)
        sent(operator)
    second, third = (waiting(proposer, operator) for _ in range(2))
    control.cancel(run_id=first.id, by=operator.actor(), at=clock.now())
    before = states(second)["paid"]
    sweep.sweep(at=clock.now())

    assert (before, states(third)["paid"]) == ("waiting", "waiting")
    assert driven(second, worker).state == "succeeded"
    assert EventMatch.objects.count() == len([first, second])
    verified(second)


def test_an_event_that_ended_a_wait_is_not_given_again(proposer, operator):
    waiting(proposer, operator)
    sent(operator)
    later = waiting(proposer, operator)
    sweep.sweep(at=clock.now())

    assert states(later)["paid"] == "waiting"
    assert EventMatch.objects.count() == 1


def test_an_event_that_was_never_matched_comes_first(proposer, operator, monkeypatch):
    first = waiting(proposer, operator)
    with monkeypatch.context() as patch:
        patch.setattr(events, "_deliver", lambda *_, **__: None)
        left = sent(operator)
    control.cancel(run_id=first.id, by=operator.actor(), at=clock.now())
    new = sent(operator)
    steps = [waiting(proposer, operator).steps.get(key="paid") for _ in range(2)]

    matches = [EventMatch.objects.get(wait__step_run=each) for each in steps]
    assert [one.event_id for one in matches] == [new.event.pk, left.event.pk]


def opens_and_sends(proposer, operator, monkeypatch, *, first):
    """Open a wait and send its event on two connections; `first` gets the lock first."""
    run = proposals.propose(
        text=TEXT, inputs={"invoice": "7"}, by=proposer.actor(), at=clock.now()
    )
    end_dry_runs()
    gate = open_gate(run)
    has_lock, real, errors = threading.Event(), engine.lock, []

    def lock():
        if threading.current_thread().name != first:
            assert has_lock.wait(10)
            real()
            return
        real()
        has_lock.set()
        _until_another_waits()

    def task(act):
        try:
            act()
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)
        finally:
            connection.close()

    monkeypatch.setattr(engine, "lock", lock)
    acts = {"opens": lambda: decided(gate, operator), "sends": lambda: sent(operator)}
    threads = [
        threading.Thread(name=name, target=task, args=[act])
        for name, act in acts.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    monkeypatch.setattr(engine, "lock", real)
    assert errors == []
    return run


def _until_another_waits():
    waiting_for_lock = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    )
    until = time.monotonic() + 10
    with connection.cursor() as cursor:
        while time.monotonic() < until:
            cursor.execute(waiting_for_lock)
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
    raise AssertionError("the other side does not wait for the lock")


@pytest.mark.parametrize("first", ["opens", "sends"])
def test_an_event_that_arrives_while_the_wait_opens_is_not_missed(
    first, proposer, operator, worker, monkeypatch
):
    run = opens_and_sends(proposer, operator, monkeypatch, first=first)

    assert EventMatch.objects.count() == 1
    assert driven(run, worker).state == "succeeded"
    verified(run)


def test_a_wait_that_a_failure_in_its_sub_plan_ends_waits_again(
    proposer, operator, worker, witness
):
    inner = plan(
        awaits(event={"type": "go"}),
        step("flaky", "flaky", params={"until": 2}, retry={"attempts": 1}),
        id="inner",
        parallel=True,
    )
    saving.save_plan(text=inner, by=proposer.actor(), at=clock.now())
    text = plan({"id": "sub", "kind": "plan", "plan": "inner"}, parallel=True)
    run = driven(approved(text, proposer, operator), worker)
    paid = run.steps.get(key="paid")
    stopped = run.state, paid.state, paid.not_before
    assert sent(operator, key="", type="go").waits == 0
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)
    again = run.steps.get(key="paid")

    assert stopped == ("paused", "skipped", None)
    assert (again.state, again.generation) == ("succeeded", 2)
    verified(run)


def test_a_wait_behind_a_worker_step_finds_its_event(proposer, operator, worker):
    text = plan(
        step("ask", params={"number": 7}),
        awaits(
            event={"type": "invoice.paid", "key": "$ask.output.number"},
            dependsOn=["ask"],
        ),
        parallel=True,
    )
    run = driven(approved(text, proposer, operator), worker)
    waits = EventWait.objects.get()
    sent(operator)

    assert (waits.key, states(run)["paid"]) == ("7", "succeeded")
