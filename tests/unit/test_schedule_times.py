"""The times of a schedule across clock changes, and what it does with due times."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.triggers.domain import cron
from orchestration.triggers.domain.firings import (
    MOST_CAUGHT_UP,
    MOST_DUE,
    CatchUp,
    FiringDecision,
    Overlap,
    decide,
)
from orchestration.triggers.errors import CronInvalid, ZoneUnknown

BERLIN = "Europe/Berlin"
SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC)
"""The night after it has no time from 02:00 to 03:00 in Berlin."""
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)
"""The night after it has the time from 02:00 to 03:00 twice."""
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def shown(
    expression: str, after: datetime, count: int, zone: str = BERLIN
) -> list[str]:
    """Return the next times, as the clocks in the zone show them."""
    found = islice(cron.times(expression, zone, after=after), count)
    return [f"{at.astimezone(cron.zone_named(zone)):%d %H:%M %z}" for at in found]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # A daily time in the gap fires at once after it, and only once.
        ("30 2 * * *", SPRING, ["29 03:00 +0200", "30 02:30 +0200"]),
        ("0,30 2 * * *", SPRING, ["29 03:00 +0200", "30 02:00 +0200"]),
        ("0 3 * * *", SPRING, ["29 03:00 +0200", "30 03:00 +0200"]),
        # A daily time that occurs twice fires once.
        ("30 2 * * *", AUTUMN, ["25 02:30 +0200", "26 02:30 +0100"]),
        # With a star, the gap has no firing, and both repeated hours have.
        ("*/30 2 * * *", SPRING, ["30 02:00 +0200", "30 02:30 +0200"]),
        (
            "*/30 2 * * *",
            AUTUMN,
            ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"],
        ),
        ("0 */2 * * *", SPRING.replace(hour=22), ["29 00:00 +0100", "29 04:00 +0200"]),
    ],
)
def test_the_times_around_a_clock_change(expression, after, expected) -> None:
    assert shown(expression, after, len(expected)) == expected


def test_the_second_of_two_equal_hours_has_no_time_of_the_first() -> None:
    second_pass = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)

    assert shown("30 2 * * *", second_pass, 1) == ["26 02:30 +0100"]


@pytest.mark.parametrize("minutes", range(0, 48 * 60, 37))
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 * * * *", "0 */2 * * *"])
def test_times_do_not_depend_on_where_the_search_begins(expression, minutes) -> None:
    for start in (SPRING, AUTUMN):
        end = start + timedelta(days=3)
        found = list(islice(cron.times(expression, BERLIN, after=start), 400))
        at = start + timedelta(minutes=minutes)
        later = [time for time in found if at < time < end]

        restarted = islice(cron.times(expression, BERLIN, after=at), len(later))

        assert list(restarted) == later
        assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 0 * * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "minute is not valid"),
        ("* 24 * * *", "hour is not valid"),
        ("0 0 31 2 *", "day-of-month is not valid"),
        ("0 0 * * 1#6", "day-of-week is not valid"),
        ("*/0 * * * *", "minute is not valid"),
        ("0 " * 100, "five fields"),
    ],
)
def test_an_invalid_expression_is_refused_with_its_field(expression, reason) -> None:
    with pytest.raises(CronInvalid, match=reason):
        cron.next_time(expression, "UTC", after=NOON)


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "localtime", "../etc/passwd", "\0", "CET"]
)
def test_an_unknown_zone_is_refused(zone) -> None:
    with pytest.raises(ZoneUnknown):
        cron.next_time("0 0 * * *", zone, after=NOON)


def test_the_end_of_time_is_refused() -> None:
    with pytest.raises(CronInvalid, match="no time at all"):
        cron.next_time("0 0 1 1 *", "UTC", after=datetime(8999, 6, 1, tzinfo=UTC))


FIELD = st.text("0123456789*/-,#LW MONFRI²\0", max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FIELD, min_size=5, max_size=5).map(" ".join))
def test_no_expression_raises_anything_else(expression) -> None:
    try:
        first = cron.next_time(expression, BERLIN, after=NOON)
    except CronInvalid:
        return
    assert first > NOON


def test_the_preview_has_five_times_in_the_zone() -> None:
    found = cron.preview("0 9 * * MON-FRI", "America/New_York", after=NOON)

    assert [f"{at:%a %H:%M %Z}" for at in found] == [
        f"{day} 09:00 EDT" for day in ("Mon", "Tue", "Wed", "Thu", "Fri")
    ]


def minutely(count: int, *, late: int = 0) -> list[datetime]:
    """Return times a minute apart; the last one is `late` minutes before noon."""
    last = NOON - timedelta(minutes=late)
    return [last - timedelta(minutes=count - 1 - index) for index in range(count)]


def decided(due: list[datetime], **options: Any) -> FiringDecision:
    given = {
        "catch_up": CatchUp.ONE,
        "overlap": Overlap.SKIP,
        "is_open": False,
    } | options
    return decide(due, at=NOON, **given)


def skips(decision: FiringDecision) -> list[tuple[int, str]]:
    return [(part.count, str(part.reason)) for part in decision.skips]


@pytest.mark.parametrize(
    ("catch_up", "late", "skipped", "fires"),
    [
        # The keeper was down for three of four times; the last one is on time.
        (CatchUp.SKIP, 0, [(3, "missed")], 3),
        (CatchUp.ONE, 0, [(3, "missed")], 3),
        (CatchUp.ALL, 0, [], 0),
        # It was down for all four.
        (CatchUp.SKIP, 6, [(4, "missed")], None),
        (CatchUp.ONE, 6, [(3, "missed")], 3),
        (CatchUp.ALL, 6, [], 0),
    ],
)
def test_missed_firings_under_each_policy(catch_up, late, skipped, fires) -> None:
    due = minutely(4, late=late)

    decision = decided(due, catch_up=catch_up)

    assert skips(decision) == skipped
    assert decision.fires == (None if fires is None else due[fires])


@pytest.mark.parametrize(
    ("overlap", "catch_up", "skipped", "fires"),
    [
        (Overlap.SKIP, CatchUp.ONE, [(1, "missed"), (1, "overlap")], False),
        (Overlap.SKIP, CatchUp.ALL, [(2, "overlap")], False),
        (Overlap.WAIT, CatchUp.ONE, [], False),
        (Overlap.WAIT, CatchUp.ALL, [], False),
        (Overlap.ALLOW, CatchUp.ONE, [(1, "missed")], True),
    ],
)
def test_an_open_run_under_each_policy(overlap, catch_up, skipped, fires) -> None:
    decision = decided(minutely(2), overlap=overlap, catch_up=catch_up, is_open=True)

    assert skips(decision) == skipped
    assert (decision.fires is not None) == fires


def test_a_waiting_firing_leaves_everything_due() -> None:
    assert decided(minutely(3), overlap=Overlap.WAIT, is_open=True).last is None


def test_all_missed_firings_are_bounded() -> None:
    due = minutely(MOST_CAUGHT_UP + 5, late=10)

    decision = decided(due, catch_up=CatchUp.ALL)

    assert skips(decision) == [(5, "too_many")]
    assert decision.fires == due[5]


def test_a_very_long_absence_is_skipped_in_parts() -> None:
    due = minutely(MOST_DUE + 1, late=10)

    decision = decided(due)

    assert skips(decision) == [(MOST_DUE, "missed")]
    assert (decision.fires, decision.last) == (None, due[-2])


def test_a_retry_is_not_a_missed_firing() -> None:
    due = minutely(1, late=30)

    assert decided(due, catch_up=CatchUp.SKIP).fires is None
    assert decided(due, catch_up=CatchUp.SKIP, is_retry=True).fires == due[0]


def test_nothing_due_decides_nothing() -> None:
    assert decided([]).last is None
