"""Decide what a schedule does at the times that are due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

ON_TIME = timedelta(minutes=5)
"""Lateness up to which the latest firing is not a missed one."""
MOST_CAUGHT_UP = 100
"""Missed firings that are made up for; older ones are skipped."""
MOST_DUE = 10_000
"""Times that one decision is about; with more, all but the last are skipped."""


class CatchUp(StrEnum):
    """What happens to the firings that were missed while the keeper was down."""

    SKIP = "skip"  # they are skipped
    ONE = "one"  # the latest fires, the others are skipped
    ALL = "all"  # each fires, in order, up to MOST_CAUGHT_UP


class Overlap(StrEnum):
    """What happens to a firing while the last run of the schedule is open."""

    SKIP = "skip"  # it is skipped
    WAIT = "wait"  # it waits for the end of the run; then `CatchUp` applies
    ALLOW = "allow"  # it proposes a run as usual


class Outcome(StrEnum):
    PROPOSED = "proposed"
    SKIPPED = "skipped"
    REFUSED = "refused"


class Skipped(StrEnum):
    """Why a firing was skipped."""

    MISSED = "missed"
    OVERLAP = "overlap"
    TOO_MANY = "too_many"


REASONS = {
    Skipped.MISSED: "It was missed, and the schedule makes up for fewer firings.",
    Skipped.OVERLAP: "The last run of the schedule was still open.",
    Skipped.TOO_MANY: f"Only the last {MOST_CAUGHT_UP} missed firings are made up for.",
}


@dataclass(frozen=True)
class SkippedTimes:
    """Times in a row that are skipped for the same reason."""

    first: datetime
    last: datetime
    count: int
    reason: Skipped


@dataclass(frozen=True)
class FiringDecision:
    """The times to skip, and the one that proposes a run now.

    Times after them stay due.
    """

    skips: tuple[SkippedTimes, ...] = ()
    fires: datetime | None = None

    @property
    def last(self) -> datetime | None:
        """The last time that this decision is about; None if everything waits."""
        return self.fires or (self.skips[-1].last if self.skips else None)


def decide(
    due: Sequence[datetime],
    *,
    at: datetime,
    catch_up: CatchUp,
    overlap: Overlap,
    is_open: bool,
    is_retry: bool = False,
) -> FiringDecision:
    """Decide about the times that are due, in order.

    `is_open` is true while the last run of the schedule has not finished. `is_retry` is
    true if an earlier try of the latest time failed; it is then not a missed one.
    """
    if not due or (is_open and overlap is Overlap.WAIT):
        return FiringDecision()
    overlaps = is_open and overlap is Overlap.SKIP
    if catch_up is CatchUp.ALL:
        return _of_all(due, overlaps=overlaps)
    if len(due) > MOST_DUE:
        return FiringDecision(_skipped((due[:MOST_DUE], Skipped.MISSED)))
    is_missed = at - due[-1] > ON_TIME and not is_retry
    if catch_up is CatchUp.SKIP and is_missed:
        return FiringDecision(_skipped((due, Skipped.MISSED)))
    missed = (due[:-1], Skipped.MISSED)
    if overlaps:
        return FiringDecision(_skipped(missed, (due[-1:], Skipped.OVERLAP)))
    return FiringDecision(_skipped(missed), due[-1])


def _of_all(due: Sequence[datetime], *, overlaps: bool) -> FiringDecision:
    if len(due) > MOST_DUE:
        return FiringDecision(_skipped((due[:MOST_DUE], Skipped.TOO_MANY)))
    if overlaps:
        return FiringDecision(_skipped((due, Skipped.OVERLAP)))
    dropped = max(0, len(due) - MOST_CAUGHT_UP)
    return FiringDecision(_skipped((due[:dropped], Skipped.TOO_MANY)), due[dropped])


def _skipped(*parts: tuple[Sequence[datetime], Skipped]) -> tuple[SkippedTimes, ...]:
    return tuple(
        SkippedTimes(times[0], times[-1], len(times), reason)
        for times, reason in parts
        if times
    )
