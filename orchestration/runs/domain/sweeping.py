"""Decide when the keeper retries a run that it could not sweep."""

from datetime import timedelta
from enum import StrEnum

REPORTED_FAILURES = 3
"""Failures in a row after which the keeper reports the run and waits between tries."""
FIRST_PAUSE_S = 10
LONGEST_PAUSE_S = 600


class Duty(StrEnum):
    """A task of the keeper for one run."""

    LEASES = "leases"
    WAITS = "waits"
    GATES = "gates"
    STOPS = "stops"
    DRY_RUNS = "dry_runs"


DESCRIPTIONS = {
    Duty.LEASES: "recover a step whose worker was lost",
    Duty.WAITS: "retry a step after its wait",
    Duty.GATES: "expire an approval",
    Duty.STOPS: "finish pausing or cancelling the run",
    Duty.DRY_RUNS: "end the dry run",
}


def pause(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row."""
    if failures < REPORTED_FAILURES:
        return timedelta()
    # Beyond 2**10 the longest pause applies anyway.
    grown = FIRST_PAUSE_S * 2 ** min(failures - REPORTED_FAILURES, 10)
    return timedelta(seconds=min(grown, LONGEST_PAUSE_S))


def message(duty: Duty, failures: int) -> str:
    """Return the message for the record and the page of the run."""
    return (
        f"Cannot {DESCRIPTIONS[duty]}: {failures} tries failed. The keeper retries with"
        " growing pauses. See the keeper's log for the cause."
    )
