"""Stops of the dispatch: what they cover, and what continues when they are lifted."""

import pytest
from django.db import IntegrityError, connection, transaction

from execfabric.identity.errors import AgentsCannotDecide, RightMissing
from execfabric.lib import clock
from orchestration.runs import dispatch
from orchestration.runs.control import stops
from orchestration.runs.engine import attempts, loading
from orchestration.runs.engine.quarantine import Quarantine
from orchestration.runs.errors import (
    StopLifted,
    StopReasonRequired,
    StopSkillUnknown,
    StopUnknown,
)
from orchestration.runs.keeper import stopped, sweep
from orchestration.runs.models import Attempt, Stop
from orchestration.trace.services import streams
from tests.builders import (
    DONE,
    approved,
    chain,
    claimed,
    completed,
    driven,
    plan,
    states,
    step,
)
from tests.database import refuses
from tests.record import is_whole, kinds

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
both_paths = pytest.mark.usefixtures("path")


def stop(by, skill: str = "", *, cancel: bool = False) -> Stop:
    return stops.stop(
        skill=skill,
        reason="The target is down.",
        cancel=cancel,
        by=by.actor(),
        at=clock.now(),
    )


def lift(row: Stop, by, reason: str = "It is back.") -> Stop:
    return stops.lift(stop_id=row.pk, reason=reason, by=by.actor(), at=clock.now())


def hinted(monkeypatch) -> list[str]:
    """Return the steps at which one sweep hints."""
    sent: list[str] = []
    monkeypatch.setattr(dispatch, "send", lambda ids: sent.extend(map(str, ids)))
    sweep.sweep(at=clock.now())
    return sent


@pytest.mark.parametrize("skill", ["", "lab"], ids=["all", "skill"])
def test_a_stop_keeps_every_step_from_starting(skill, proposer, operator, worker):
    run = approved(chain(2), proposer, operator)
    row = stop(operator, skill)

    assert claimed(run, "s0") is None
    assert states(run) == {"s0": "ready", "s1": "pending"}
    assert not Attempt.objects.exists()

    lift(row, operator)
    assert driven(run, worker).state == "succeeded"


def test_a_stop_of_another_skill_stops_nothing(proposer, operator, worker):
    run = approved(chain(2), proposer, operator)
    stop(operator, "http")

    assert driven(run, worker).state == "succeeded"


@both_paths
def test_a_running_step_finishes_and_the_next_one_waits(proposer, operator, worker):
    run = approved(chain(3), proposer, operator)
    lease = claimed(run, "s0")
    row = stop(operator)

    assert completed(lease) is None
    assert states(run) == {"s0": "succeeded", "s1": "ready", "s2": "pending"}
    assert run.steps.get(key="s1").fence == 0

    lift(row, operator)
    assert driven(run, worker).state == "succeeded"


@both_paths
def test_a_worker_that_has_the_run_in_its_cache_takes_no_step(
    proposer, operator, worker
):
    run = approved(chain(3), proposer, operator)
    first = claimed(run, "s0")
    second = completed(first)
    stop(operator)

    assert completed(second) is None
    assert states(run)["s2"] == "ready"


@pytest.mark.parametrize("skill", ["", "lab"], ids=["all", "skill"])
def test_a_stop_that_is_set_after_the_run_was_read_stops_its_claim(
    skill, proposer, operator, monkeypatch
):
    """The trigger decides, not what the worker has read."""
    run = approved(chain(2), proposer, operator)
    stop(operator, skill)
    blind = loading.READ_AROUND.replace("array_agg(skill)", "NULL::text[]")
    monkeypatch.setattr(loading, "READ_AROUND", blind)

    assert claimed(run, "s0") is None
    assert states(run)["s0"] == "ready"


@pytest.mark.parametrize("skill", ["", "lab"], ids=["all", "skill"])
def test_a_stop_that_was_read_holds_a_step_without_the_trigger(
    skill, proposer, operator
):
    run = approved(chain(2), proposer, operator)
    stop(operator, skill)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE runs_attempt DISABLE TRIGGER dispatched")
    try:
        assert claimed(run, "s0") is None
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE runs_attempt ENABLE TRIGGER dispatched")


@both_paths
def test_a_result_is_stored_if_a_stop_is_set_while_it_is_written(
    proposer, operator, monkeypatch
):
    """The step ends in a second try, which starts no other step."""
    run = approved(chain(2), proposer, operator)
    lease = claimed(run, "s0")
    stop(operator)
    blind = loading.READ_AROUND.replace("array_agg(skill)", "NULL::text[]")
    monkeypatch.setattr(loading, "READ_AROUND", blind)

    assert completed(lease) is None
    assert states(run) == {"s0": "succeeded", "s1": "ready"}
    assert is_whole(run)


def test_two_stops_are_lifted_one_by_one(proposer, operator):
    run = approved(chain(1), proposer, operator)
    first, second = stop(operator), stop(operator, "lab")

    lift(first, operator)
    assert claimed(run, "s0") is None
    lift(second, operator)
    assert claimed(run, "s0") is not None


def test_hints_rest_during_a_stop_and_come_back_at_once(
    proposer, operator, monkeypatch
):
    run = approved(chain(1), proposer, operator)
    ready = str(run.steps.get().pk)
    row = stop(operator)
    assert hinted(monkeypatch) == []

    # The step has a hint of just now, which a worker has used up during the stop.
    run.steps.update(hinted_at=clock.now())
    lift(row, operator)
    assert hinted(monkeypatch) == [ready]
    assert hinted(monkeypatch) == []


def test_the_running_work_is_cancelled_if_the_stop_says_so(
    proposer, operator, second_operator
):
    busy = approved(chain(2), proposer, operator)
    idle = approved(plan(step("s0"), id="another"), proposer, operator)
    lease = claimed(busy, "s0")
    stop(second_operator, cancel=True)

    sweep.sweep(at=clock.now())
    busy.refresh_from_db()
    idle.refresh_from_db()
    assert (busy.state, idle.state) == ("cancelling", "running")
    assert "The target is down." in busy.reason

    completed(lease)
    busy.refresh_from_db()
    assert busy.state == "cancelled"
    assert sweep.sweep(at=clock.now()).stopped == 0


def test_running_work_of_other_skills_is_not_cancelled(proposer, operator):
    run = approved(chain(2), proposer, operator)
    claimed(run, "s0")
    stop(operator, "http", cancel=True)
    stop(operator)

    sweep.sweep(at=clock.now())
    run.refresh_from_db()
    assert run.state == "running"


def test_a_run_is_cancelled_although_its_step_ends_before_the_keeper_looks(
    proposer, operator, worker
):
    run = approved(chain(2), proposer, operator)
    lease = claimed(run, "s0")
    row = stop(operator, "lab", cancel=True)
    assert completed(lease) is None

    assert sweep.sweep(at=clock.now()).stopped == 1
    lift(row, operator)
    run = driven(run, worker)
    assert (run.state, states(run)) == (
        "cancelled",
        {"s0": "succeeded", "s1": "cancelled"},
    )
    assert is_whole(run)


def test_a_run_whose_step_ended_before_the_stop_is_not_cancelled(proposer, operator):
    run = approved(chain(2), proposer, operator)
    attempts.complete(claimed(run, "s0"), DONE, worker="w", session="", at=clock.now())
    stop(operator, cancel=True)

    assert sweep.sweep(at=clock.now()).stopped == 0


def test_a_stop_that_was_lifted_since_cancels_nothing(proposer, operator, monkeypatch):
    run = approved(chain(2), proposer, operator)
    claimed(run, "s0")
    row = stop(operator, cancel=True)
    [found] = stopped.to_cancel(Quarantine(by=sweep.BY, at=clock.now()))
    monkeypatch.setattr(stopped, "to_cancel", lambda _: [found])
    lift(row, operator)

    assert sweep.sweep(at=clock.now()).stopped == 0
    run.refresh_from_db()
    assert run.state == "running"


def test_only_operators_and_admins_stop_and_lift(
    proposer, operator, admin, auditor, agent
):
    row = stop(operator)
    stop(admin)
    proposer.groups.set([proposer.groups.get(name="proposer")])
    for person in (proposer, auditor):
        with pytest.raises(RightMissing):
            stop(person)
        with pytest.raises(RightMissing):
            lift(row, person)
    with pytest.raises(AgentsCannotDecide):
        stops.stop(skill="", reason="x", cancel=False, by=agent, at=clock.now())
    row.refresh_from_db()
    assert row.is_active


@pytest.mark.parametrize("reason", ["", " \u200b", "a\0b", "x" * 2001])
def test_a_reason_is_required(reason, operator):
    row = stop(operator)
    with pytest.raises(StopReasonRequired):
        stops.stop(
            skill="", reason=reason, cancel=False, by=operator.actor(), at=clock.now()
        )
    with pytest.raises(StopReasonRequired):
        lift(row, operator, reason)


def test_what_cannot_be_stopped_or_lifted_is_refused(operator):
    with pytest.raises(StopSkillUnknown):
        stop(operator, "no-such-skill")
    row = stop(operator)
    lift(row, operator)
    with pytest.raises(StopLifted):
        lift(row, operator)
    with pytest.raises(StopUnknown):
        lift(Stop(), operator)


def test_stops_are_recorded_in_a_stream_of_their_own(operator):
    row = stop(operator, "lab")
    lift(row, operator)

    assert kinds(row) == ["stop.set", "stop.lifted"]
    assert ("stops", True) in streams.register()
    assert is_whole(row)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE runs_stop DISABLE TRIGGER USER")
        cursor.execute("UPDATE runs_stop SET reason = 'Another one.'")
        found = streams.verify_stream("stops").differences
        transaction.set_rollback(True)
    assert [(item.table, item.column) for item in found] == [("runs_stop", "reason")]


@pytest.mark.parametrize(
    "change",
    [
        "reason = 'x'",
        "skill = 'http'",
        "cancels = true",
        "set_at = now()",
        "lifted_at = NULL, lifted_by = '', lift_reason = ''",
    ],
)
def test_the_database_refuses_to_change_a_stop(change, operator):
    lift(stop(operator), operator)
    stop(operator)
    refuses(f"UPDATE runs_stop SET {change}")
    refuses("DELETE FROM runs_stop")


@pytest.mark.parametrize(
    "change",
    [
        "lifted_at = now()",
        "lifted_by = 'user:1'",
        "lift_reason = 'x'",
        "lifted_at = now(), lifted_by = 'user:1'",
        "lifted_at = now(), lift_reason = 'x'",
    ],
)
def test_a_stop_is_lifted_by_someone_for_a_reason(change, operator):
    stop(operator)
    with (
        pytest.raises(IntegrityError, match="stop_lift"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE runs_stop SET {change}")
