"""Service levels of runs and steps: due times, breaches, and who hears of them."""

import logging
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from audit import selectors as audit
from execfabric.lib import clock
from orchestration.runs.control import control
from orchestration.runs.domain.results import Failure, Finished
from orchestration.runs.keeper import sweep
from orchestration.trace.services import streams
from tests.api_builders import Caller, token_of
from tests.builders import (
    approved,
    claimed,
    completed,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.console_builders import signed_in, words
from tests.record import is_whole
from tests.web.run_builders import page_of, step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

MINUTE = timedelta(minutes=1)
LATER = timedelta(minutes=6)
BAD = Failure("lab.failed", "It failed.")


def breaches(run) -> list[tuple[str, str, dict]]:
    found = audit.events_after(run.stream, 0, limit=500)
    return [
        (one.kind, one.step, audit.envelope(one)["payload"])
        for one in found
        if one.kind.endswith("sla_breached")
    ]


@pytest.mark.promise("S3.47", "S3.54")
def test_a_breach_is_recorded_once_and_is_not_a_failure(proposer, operator, caplog):
    text = plan(step("a", sla="5m"), step("b", after="a"), sla="5m", id="slow-plan")
    run = approved(text, proposer, operator)
    assert run.due_at == run.started_at + 5 * MINUTE
    first = run.steps.get(key="a")
    assert first.due_at == run.due_at
    lease = claimed(run, "a")
    before = run.steps.get(key="a").lease_until

    assert sweep.sweep(at=clock.now()).late == 0
    with caplog.at_level(logging.WARNING, "orchestration.runs.alerts"):
        for _ in range(3):
            sweep.sweep(at=clock.now() + LATER)

    found = breaches(run)
    assert [(kind, key) for kind, key, _ in found] == [
        ("run.sla_breached", ""),
        ("step.sla_breached", "a"),
    ]
    for _, _, payload in found:
        assert payload["elapsed_ms"] >= 6 * 60_000
        assert payload["sla_s"] == 300
        assert payload["state"] == "running"
    run.refresh_from_db()
    assert (run.state, states(run)) == ("running", {"a": "running", "b": "pending"})
    assert len([one for one in caplog.records if "service level" in one.message]) == 2
    assert run.steps.get(key="a").lease_until == before

    following = completed(lease, Finished({}, {}))
    completed(following, Finished({}, {}))
    run.refresh_from_db()
    assert run.state == "succeeded"
    assert len(breaches(run)) == 2
    assert is_whole(run)


def test_what_ends_in_time_is_never_late(proposer, operator):
    run = approved(plan(step("a", sla="5m"), sla="5m"), proposer, operator)
    completed(claimed(run, "a"), Finished({}, {}))

    sweep.sweep(at=clock.now() + LATER)

    assert breaches(run) == []
    run.refresh_from_db()
    assert run.due_at is not None
    assert run.breached_at is None


def test_what_ends_late_is_late_without_a_keeper(proposer, operator, caplog):
    run = approved(plan(step("a", sla="1ms"), sla="1ms"), proposer, operator)

    completed(claimed(run, "a"), Finished({}, {}))

    assert [kind for kind, *_ in breaches(run)] == [
        "step.sla_breached",
        "run.sla_breached",
    ]
    sweep.sweep(at=clock.now() + LATER)
    assert len(breaches(run)) == 2
    assert is_whole(run)
    alerts = [one.message for one in caplog.records if "service level" in one.message]
    assert [one.split(" is past")[0] for one in alerts] == [
        f"Step a of run {run.pk}",
        f"Plan lab-plan of run {run.pk}",
    ]


def test_waiting_for_people_counts_but_not_before_the_plan_is_approved(
    proposer, operator
):
    text = plan(step("a", approval=True, sla="5m"), step("b", sla="5m"), sla="5m")
    waiting = proposed(text, proposer)
    sweep.sweep(at=clock.now() + LATER)
    assert breaches(waiting) == []

    run = approved(text, proposer, operator)
    assert states(run) == {"a": "gated", "b": "pending"}
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    sweep.sweep(at=clock.now() + LATER)

    assert [(kind, key) for kind, key, _ in breaches(run)] == [
        ("run.sla_breached", ""),
        ("step.sla_breached", "a"),
    ]
    assert run.steps.get(key="b").due_at is None


def test_a_retry_does_not_move_the_due_time(proposer, operator):
    run = approved(plan(step("a", sla="5m")), proposer, operator)
    due = run.steps.get().due_at
    completed(claimed(run, "a"), BAD)
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())

    assert run.steps.get().due_at == due
    sweep.sweep(at=clock.now() + LATER)
    completed(claimed(run, "a"), Finished({}, {}))
    assert len(breaches(run)) == 1
    assert is_whole(run)


def test_a_fallback_counts_into_the_time_of_its_step(proposer, operator):
    fallback = {"skill": "lab", "action": "echo"}
    run = approved(plan(step("a", sla="5m", fallback=fallback)), proposer, operator)
    lease = completed(claimed(run, "a"), BAD)
    assert lease.key == "a.fallback"

    sweep.sweep(at=clock.now() + LATER)

    assert [key for _, key, _ in breaches(run)] == ["a"]
    assert run.steps.get(key="a.fallback").due_at is None


def test_a_list_is_late_as_a_whole(proposer, operator):
    text = plan(step("each", forEach=[1, 2], sla="5m"))
    run = approved(text, proposer, operator)

    sweep.sweep(at=clock.now() + LATER)

    assert [(key, one.get("item")) for _, key, one in breaches(run)] == [("each", None)]


def test_two_keepers_record_a_breach_once(proposer, operator):
    """The second one looks again under the lock of the run."""
    run = approved(plan(step("a", sla="5m")), proposer, operator)
    at = clock.now() + LATER
    quarantine = sweep.Quarantine(by=sweep.BY, at=at)
    first, second = (sweep.late.found(quarantine) for _ in range(2))
    for found in (first, second):
        for rows, act in found:
            sweep._in_changes(quarantine, sweep.Duty.SLA, list(rows), act)

    assert len(breaches(run)) == 1
    stale = [(run.id, run.steps.get().id)]
    assert sweep._in_changes(quarantine, sweep.Duty.SLA, stale, first[1][1]) == 0
    assert len(breaches(run)) == 1


def test_pages_and_api_show_due_time_and_breach(proposer, operator):
    run = approved(plan(step("a", sla="5m"), sla="5m"), proposer, operator)
    client, caller = signed_in(operator), Caller(token_of(operator))
    assert "Due" in words(page_of(run, client))
    assert "Late" not in words(client.get("/"))

    sweep.sweep(at=clock.now() + LATER)

    shown = words(page_of(run, client))
    assert "The run is late: it was due at" in shown
    assert "Step “a” is late: it was due at" in shown
    assert "Late" in words(step_of(run, "a", client))
    assert 'data-testid="home-late"' in client.get("/").content.decode()
    assert "Run late" in words(page_of(run, client, view="events"))
    row = caller.get(f"runs/{run.pk}").json()
    assert row["due_at"] < row["breached_at"]
    assert row["steps"][0]["breached_at"]
    assert caller.get("runs").json()["items"][0]["breached_at"]


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"breached_at": clock.now()}, "breach_is_after_due"),
        ({"due_at": clock.now(), "breached_at": clock.now()}, "breach_is_after_due"),
        ({"due_at": clock.now() - LATER}, "ended_late_is_breach"),
    ],
)
def test_the_database_refuses_a_breach_that_is_none(columns, name, proposer, operator):
    if columns.keys() == {"due_at", "breached_at"}:
        columns = dict.fromkeys(columns, clock.now())
    run = approved(plan(step("a")), proposer, operator)
    completed(claimed(run, "a"), Finished({}, {}))
    for rows in (run.steps, type(run).objects.filter(pk=run.pk)):
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            rows.update(**columns)


def test_a_changed_due_time_is_found_by_verification(proposer, operator):
    run = approved(plan(step("a", sla="5m"), sla="5m"), proposer, operator)
    later = clock.now() + timedelta(days=1)
    run.steps.update(due_at=later)
    type(run).objects.filter(pk=run.pk).update(due_at=later)

    tables = {one.table for one in streams.verify_stream(run.stream).differences}

    assert tables == {"runs_run", "runs_steprun"}


def test_an_approver_sees_the_service_level(proposer, operator):
    run = proposed(plan(step("a", sla="5m"), sla="1h"), proposer)

    shown = words(signed_in(operator).get(f"/gates/{open_gate(run).pk}"))

    assert "Has to end within 3600 s" in shown
    assert "has to end within 300 s" in shown
