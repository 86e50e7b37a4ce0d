"""Schedules: what is recorded, and that each firing happens exactly once."""

from contextlib import suppress
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import IntegrityError, transaction

from approvals.errors import OwnProposal
from audit import selectors as record
from execfabric.identity.models import User
from execfabric.infra import disk
from execfabric.infra.disk import DiskFull
from execfabric.lib import clock
from orchestration.plans.services import saving
from orchestration.runs.control import control, proposals
from orchestration.runs.keeper import sweep as keeper
from orchestration.runs.models import Run
from orchestration.trace.services import streams
from orchestration.triggers import selectors
from orchestration.triggers.domain.firings import MOST_CAUGHT_UP, CatchUp, Overlap
from orchestration.triggers.models import MOST_REFUSALS, Firing, Schedule
from orchestration.triggers.services import firing, schedules
from tests.builders import decided, end_dry_runs, open_gate
from tests.database import at_once, refuses
from tests.integration.schedule_builders import (
    NOON,
    TEXT,
    as_operator,
    at,
    made,
)
from tests.integration.test_fault_injection import (
    IN_STATEMENTS,
    SERVER_AWAY,
    STATEMENTS,
    Faults,
)
from tests.record import is_whole, kinds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry", "unhurried")]


def outcomes(row: Schedule) -> list[tuple[int, str, str]]:
    """Return hour, outcome and code of each firing, in order."""
    rows = row.firings.order_by("due_at")
    return [(each.due_at.hour, each.outcome, each.code) for each in rows]


def attention(by: User) -> list[Schedule]:
    return selectors.needing_attention(by.actor(), 5, sees_all=False)


def finished(run: Run, by: User) -> None:
    control.cancel(run_id=run.pk, by=by.actor(), at=clock.now())


def test_a_schedule_is_stored_and_recorded(schedule, proposer) -> None:
    assert schedule.next_at == at(13, second=0)
    assert schedule.owner == proposer.actor().key
    assert kinds(schedule) == ["schedule.created"]
    assert is_whole(schedule)
    assert (schedule.stream, True) in streams.register()


def test_a_firing_proposes_a_run_that_its_owner_cannot_approve(
    schedule, proposer, operator
) -> None:
    as_operator(proposer)

    keeper.sweep(at=at(12, 59))
    assert not Run.objects.exists()
    keeper.sweep(at=at(13))

    run = Run.objects.get()
    assert run.proposed_by() == proposer.actor()
    assert run.inputs == {"word": "x"}
    first = record.events_after(run.stream, 0, limit=1)[0]
    assert record.envelope(first)["payload"]["origin"] == schedule.stream
    assert outcomes(schedule) == [(13, "proposed", "")]
    assert run.firing.schedule_id == schedule.pk
    assert kinds(schedule) == ["schedule.created", "schedule.fired"]
    assert is_whole(schedule)
    end_dry_runs()
    with pytest.raises(OwnProposal):
        decided(open_gate(run), proposer)


def test_the_newest_revision_runs_unless_one_is_fixed(lab_plan, proposer) -> None:
    newest, fixed = made(proposer), made(proposer, name="Fixed", revision=1)
    other = TEXT.replace("Laboratory plan", "Second revision")
    saving.save_plan(text=other, by=proposer.actor(), at=clock.now())

    firing.sweep(at(13))

    numbers = {run.firing.schedule_id: run.revision.number for run in Run.objects.all()}
    assert numbers == {newest.pk: 2, fixed.pk: 1}


def test_a_paused_schedule_does_not_fire_and_has_missed_nothing(
    schedule, proposer
) -> None:
    schedules.pause(schedule_id=schedule.pk, by=proposer.actor(), at=NOON)
    firing.sweep(at(14))
    schedules.resume(schedule_id=schedule.pk, by=proposer.actor(), at=at(15, 30))
    firing.sweep(at(15, 59))

    assert not Firing.objects.exists()


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        (CatchUp.SKIP, [(13, "skipped", "missed")]),
        (CatchUp.ONE, [(13, "skipped", "missed"), (16, "proposed", "")]),
        (
            CatchUp.ALL,
            [(hour, "proposed", "") for hour in (13, 14, 15, 16)],
        ),
    ],
)
def test_missed_firings_are_made_up_for_as_the_policy_says(
    lab_plan, proposer, catch_up, expected
) -> None:
    row = made(proposer, catch_up=catch_up, overlap=Overlap.ALLOW)

    for _ in range(6):
        firing.sweep(at(16, 30))

    assert outcomes(row) == expected
    row.refresh_from_db()
    assert row.next_at == at(17, second=0)
    assert is_whole(row)


def test_skipped_times_in_a_row_are_one_row_with_their_number(
    lab_plan, proposer
) -> None:
    row = made(proposer, catch_up=CatchUp.SKIP)

    firing.sweep(at(16, 30))

    only = row.firings.get()
    assert (only.due_at, only.last_due_at) == (at(13, second=0), at(16, second=0))
    assert only.count == 4


def test_many_missed_firings_are_bounded(lab_plan, proposer) -> None:
    row = made(proposer, cron="* * * * *", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)

    firing.sweep(at(12, 3) + timedelta(minutes=MOST_CAUGHT_UP))

    skipped = row.firings.get(outcome="skipped")
    assert (skipped.count, skipped.code) == (3, "too_many")
    row.refresh_from_db()
    assert row.next_at == at(12, 5, 0)


def test_a_firing_while_the_last_run_is_open_is_skipped(
    schedule, proposer, operator
) -> None:
    firing.sweep(at(13))
    firing.sweep(at(14))
    finished(Run.objects.get(), operator)
    firing.sweep(at(15))

    assert outcomes(schedule) == [
        (13, "proposed", ""),
        (14, "skipped", "overlap"),
        (15, "proposed", ""),
    ]
    assert is_whole(schedule)


def test_a_firing_waits_for_the_end_of_the_last_run(
    lab_plan, proposer, operator
) -> None:
    row = made(proposer, overlap=Overlap.WAIT)
    firing.sweep(at(13))
    for hour in (14, 15):
        firing.sweep(at(hour))
    assert outcomes(row) == [(13, "proposed", "")]

    finished(Run.objects.get(), operator)
    firing.sweep(at(15, 30))

    assert outcomes(row)[1:] == [(14, "skipped", "missed"), (15, "proposed", "")]


def test_open_runs_may_overlap(lab_plan, proposer) -> None:
    row = made(proposer, overlap=Overlap.ALLOW)

    firing.sweep(at(13))
    firing.sweep(at(14))

    assert [outcome for _, outcome, _ in outcomes(row)] == ["proposed"] * 2


def test_a_refused_firing_is_recorded_and_shown_to_its_owner(
    schedule, proposer, stranger
) -> None:
    proposer.is_active = False
    proposer.save()

    firing.sweep(at(13))

    assert outcomes(schedule) == [(13, "refused", "trigger.owner_inactive")]
    assert kinds(schedule)[-1] == "schedule.refused"
    assert is_whole(schedule)
    proposer.is_active = True
    proposer.save()
    assert attention(proposer) == [schedule]
    assert attention(stranger) == []
    firing.sweep(at(14))
    assert attention(proposer) == []


def test_a_schedule_pauses_itself_after_too_many_refusals(schedule, proposer) -> None:
    proposer.groups.clear()

    for hour in range(13, 22):
        firing.sweep(at(hour))

    schedule.refresh_from_db()
    assert len(outcomes(schedule)) == MOST_REFUSALS
    assert {code for _, _, code in outcomes(schedule)} == {"auth.right_missing"}
    assert (schedule.state, schedule.next_at) == ("paused", None)
    assert "5 refused firings" in schedule.reason
    assert kinds(schedule)[-1] == "schedule.paused"
    assert is_whole(schedule)


def test_a_plan_that_became_invalid_refuses_the_firing(lab_plan, proposer) -> None:
    row = made(proposer)
    narrow = TEXT.replace('"string"', '"integer"')
    saving.save_plan(text=narrow, by=proposer.actor(), at=clock.now())

    firing.sweep(at(13))

    assert outcomes(row) == [(13, "refused", "plan.invalid")]


def test_a_schedule_that_fails_does_not_stop_the_others(
    lab_plan, proposer, monkeypatch
) -> None:
    broken, good = made(proposer, name="Broken"), made(proposer, name="Good")
    start = proposals.start

    def failing(**options: Any) -> Run:
        if options["origin"].name == broken.stream:
            raise TypeError("broken")
        return start(**options)

    monkeypatch.setattr(proposals, "start", failing)
    moment = at(13)
    for _ in range(firing.MOST_TRIES):
        firing.sweep(moment)
        moment += timedelta(seconds=firing.LONGEST_PAUSE_S)

    assert outcomes(good) == [(13, "proposed", "")]
    assert outcomes(broken) == [(13, "refused", "internal")]


def test_a_firing_waits_while_the_disk_is_full(schedule, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(disk, "require_space", lambda: (_ for _ in ()).throw(DiskFull()))
        firing.sweep(at(13))
        firing.sweep(at(13, second=2))
    assert outcomes(schedule) == []

    firing.sweep(at(13, 0, 10))

    assert outcomes(schedule) == [(13, "proposed", "")]


@pytest.mark.parametrize(
    "values",
    [
        {"outcome": "lost"},
        {"outcome": "proposed"},
        {"outcome": "refused", "code": ""},
        {"count": 2},
        {"count": 0},
    ],
)
def test_a_firing_that_contradicts_itself_is_not_stored(schedule, values) -> None:
    firing_row = {
        "schedule": schedule,
        "due_at": NOON,
        "last_due_at": NOON,
        "outcome": "refused",
        "code": "x",
        "at": NOON,
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        Firing.objects.create(**firing_row | values)


def test_firings_are_never_changed_and_schedules_never_removed(schedule) -> None:
    firing.sweep(at(13))
    refuses("UPDATE triggers_firing SET message = 'x'")
    refuses("DELETE FROM triggers_firing")
    refuses("DELETE FROM triggers_schedule")


@pytest.mark.django_db(transaction=True)
def test_two_keepers_at_once_fire_once(schedule) -> None:
    at_once(*[lambda: firing.sweep(at(13))] * 4)

    assert Run.objects.count() == 1
    assert outcomes(schedule) == [(13, "proposed", "")]
    assert is_whole(schedule)


@pytest.mark.django_db(transaction=True)
def test_no_error_at_a_statement_doubles_or_loses_a_firing(
    lab_plan, proposer, monkeypatch
) -> None:
    monkeypatch.setattr(configured, "DRY_RUNS_PER_ACTOR", 1_000)
    faults, errors = Faults(), cycle(IN_STATEMENTS)
    faults.watch(monkeypatch, STATEMENTS)

    def fired(target: int, error: Exception | None, *, after: bool = False) -> str:
        row = made(proposer, name=f"{target} {after}")
        faults.arm(target, error, after=after)
        with suppress(Exception):
            keeper.sweep(at=at(13))
        faults.is_armed = False
        keeper.sweep(at=at(13, 2))
        runs = Run.objects.filter(firing__schedule=row).count()
        found = f"{runs} runs, {outcomes(row)}, whole: {is_whole(row)}"
        schedules.delete(schedule_id=row.pk, by=proposer.actor(), at=at(13, 2))
        return found

    fired(-1, None)
    expected = fired(-1, None)
    places = list(faults.places)
    ended = {}
    for number in range(len(places)):
        error = next(errors)
        ended[f"{number} {error!r}"] = fired(number, error)
        if places[number] == "Connection.commit":
            ended[f"after {number}"] = fired(number, SERVER_AWAY, after=True)

    assert expected == "1 runs, [(13, 'proposed', '')], whole: True"
    assert {k: v for k, v in ended.items() if v != expected} == {}
    assert len(places) > 20
