"""The times of a cron expression in a time zone.

An expression has five fields: minute, hour, day of the month, month, day of the week.
When clocks change, it behaves as in Debian's cron:

- If neither minute nor hour begins with `*`, a time that the change to summer time skips
  fires at once after the gap, and a time that occurs twice in autumn fires once.
- Otherwise the expression follows the clock on the wall: it has no firing in the gap, and
  fires in both of the repeated hours.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import chain, islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from orchestration.triggers.errors import CronInvalid, ZoneUnknown

FIELDS = 5
LONGEST = 100
"""Characters of an expression."""
PREVIEWED = 5
LAST_YEAR = 9_000
"""Later times may not fit a `datetime` in every zone."""


@cache
def zones() -> frozenset[str]:
    """Return the names of all time zones: `Europe/Berlin`, but not `localtime`."""
    return frozenset(
        name for name in available_timezones() if "/" in name or name == "UTC"
    )


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone.

    :raises ZoneUnknown: when there is no zone of this name
    """
    if name not in zones():
        raise ZoneUnknown(
            f"Unknown time zone {name!r}. Use a name such as Europe/Berlin, or UTC."
        )
    return ZoneInfo(name)


def times(cron: str, zone: str, *, after: datetime) -> Iterator[datetime]:
    """Iterate over the times after a moment, in UTC and in order.

    :raises CronInvalid: when the expression is not valid, or has no time at all
    :raises ZoneUnknown: when there is no zone of this name
    """
    local = after.astimezone(zone_named(zone))
    found = _after(_parsed(cron, local), after)
    first = next(found, None)
    if first is None:
        raise CronInvalid(f"The cron expression {cron!r} has no time at all.")
    return chain((first,), found)


def next_time(cron: str, zone: str, *, after: datetime) -> datetime:
    """Return the first time after a moment; the errors are those of `times`."""
    return next(times(cron, zone, after=after))


def preview(cron: str, zone: str, *, after: datetime) -> list[datetime]:
    """Return the next five times, in the zone; the errors are those of `times`."""
    found = islice(times(cron, zone, after=after), PREVIEWED)
    return [at.astimezone(ZoneInfo(zone)) for at in found]


def _parsed(cron: str, local: datetime) -> CronSim:
    if len(cron) > LONGEST or len(cron.split()) != FIELDS:
        raise CronInvalid(
            f"Invalid cron expression {cron[:LONGEST]!r}: it must have five fields, such"
            " as '30 6 * * MON-FRI' (minute, hour, day, month, day of the week)."
        )
    try:
        return CronSim(cron, local)
    except CronSimError as error:
        reason = str(error).removeprefix("Bad ")
        raise CronInvalid(
            f"Invalid cron expression {cron!r}: the {reason} is not valid."
        ) from None


def _after(found: CronSim, after: datetime) -> Iterator[datetime]:
    """Yield the times in UTC.

    In the second of two equal hours, the library begins with times of the first one.
    """
    for local in found:
        at = local.astimezone(UTC)
        if at.year >= LAST_YEAR:
            return
        if at > after:
            after = at
            yield at
