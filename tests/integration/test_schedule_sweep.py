"""Sweeps of schedules: no schedule holds up the others, or is stuck."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit import selectors as record
from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans.services import saving
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from orchestration.triggers import selectors
from orchestration.triggers.domain.firings import Overlap
from orchestration.triggers.models import Firing, Schedule
from orchestration.triggers.services import firing, schedules
from orchestration.triggers.services.schedules import ScheduleSettings
from tests.builders import plan, step
from tests.record import is_whole

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry", "saved")]

HOURLY = "0 * * * *"


@pytest.fixture
def saved(proposer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firing, "monotonic", lambda: 0.0)
    saving.save_plan(text=plan(step("a")), by=proposer.actor(), at=clock.now())


def at(hour: int, minute: int = 0, second: int = 1) -> datetime:
    return datetime(2026, 6, 1, hour, minute, second, tzinfo=UTC)


def made(by: User, **changes: Any) -> Schedule:
    settings = ScheduleSettings(**({"name": "Hourly", "cron": HOURLY} | changes))
    return schedules.create(
        slug="lab-plan", settings=settings, by=by.actor(), at=at(12)
    )


def hours(row: Schedule) -> list[int]:
    """Return the hours of the firings."""
    return [each.due_at.hour for each in row.firings.order_by("due_at")]


def next_hour(row: Schedule) -> int:
    row.refresh_from_db()
    assert row.next_at
    return row.next_at.hour


def test_schedules_that_wait_for_their_run_do_not_hold_up_others(
    proposer, monkeypatch
) -> None:
    waiting = [made(proposer, overlap=Overlap.WAIT) for _ in range(2)]
    other = made(proposer, cron="30 * * * *", overlap=Overlap.ALLOW)
    firing.sweep(at(13))
    monkeypatch.setattr(firing, "BATCH", 2)

    firing.sweep(at(14, 30))
    firing.sweep(at(14, 30, 3))

    assert [hours(row) for row in waiting] == [[13], [13]]
    assert hours(other)[-1] == 14


def test_a_sweep_ends_when_its_time_is_used_up(proposer, monkeypatch) -> None:
    moments = iter(range(0, 100, 2))
    monkeypatch.setattr(firing, "monotonic", lambda: float(next(moments)))
    first, other = made(proposer), made(proposer)

    firing.sweep(at(13))
    assert (hours(first), hours(other)) == ([13], [])
    firing.sweep(at(13, 0, 2))

    assert (hours(first), hours(other)) == ([13], [13])


def test_two_keepers_share_the_schedules(proposer, monkeypatch) -> None:
    made(proposer), made(proposer)
    start, started = proposals.start, []

    def start_while_another_keeper_sweeps(**options: Any) -> Run:
        started.append(options["origin"].name)
        firing.sweep(at(13))
        return start(**options)

    monkeypatch.setattr(proposals, "start", start_while_another_keeper_sweeps)
    firing.sweep(at(13))

    assert len(started) == len(set(started)) == 2
    assert Run.objects.count() == 2


def test_what_a_keeper_claimed_before_it_died_fires_later(proposer) -> None:
    row = made(proposer)
    assert firing.claim(row, at(13))

    firing.sweep(at(13, 0, 2))
    assert hours(row) == []
    firing.sweep(at(13, 1))

    assert hours(row) == [13]


def test_a_change_at_an_earlier_time_repeats_no_firing(proposer) -> None:
    row = made(proposer)
    firing.sweep(at(13))
    settings = ScheduleSettings(name="Hourly", cron=HOURLY)
    early: dict[str, Any] = {
        "schedule_id": row.pk,
        "by": proposer.actor(),
        "at": at(12, 59),
    }

    schedules.change(settings=settings, **early)
    assert next_hour(row) == 14
    schedules.pause(**early)
    schedules.resume(**early)

    assert next_hour(row) == 14
    assert is_whole(row)


def test_many_skipped_firings_are_not_read_to_find_an_open_run(proposer) -> None:
    row = made(proposer)
    times = (at(0) + timedelta(minutes=number) for number in range(2_000))
    Firing.objects.bulk_create(
        Firing(
            schedule=row,
            due_at=due,
            last_due_at=due,
            outcome="skipped",
            code="overlap",
            at=due,
        )
        for due in times
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE triggers_firing")

    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert selectors.open_run(row) is None
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + queries[0]["sql"])
        plan_text = str(cursor.fetchall())

    assert "firing_runs" in plan_text


def test_a_schedule_whose_firing_exists_moves_on(proposer) -> None:
    row = made(proposer, overlap=Overlap.ALLOW)
    firing.sweep(at(13))
    Schedule.objects.filter(pk=row.pk).update(next_at=at(13, second=0))

    firing.sweep(at(13, 30))
    assert (hours(row), next_hour(row)) == ([13], 14)
    assert is_whole(row)
    firing.sweep(at(14))

    assert hours(row) == [13, 14]
    kinds = [event.kind for event in record.events_after(row.stream, 0, limit=100)]
    assert kinds[1:] == ["schedule.fired", "schedule.moved_on", "schedule.fired"]
