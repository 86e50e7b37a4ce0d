"""How long the keeper waits before it tries a run again that it could not sweep."""

from datetime import timedelta
from enum import StrEnum

PATIENCE = 3
"""Failures in a row after which the keeper reports the run and begins to pause."""
FIRST_PAUSE_S = 10
LONGEST_PAUSE_S = 600


class Duty(StrEnum):
    LEASES = "leases"
    WAITS = "waits"
    GATES = "gates"
    STOPS = "stops"
    DRY_RUNS = "dry_runs"


WORDS = {
    Duty.LEASES: "take back a step whose worker was lost",
    Duty.WAITS: "start a step again after its pause",
    Duty.GATES: "expire an approval",
    Duty.STOPS: "finish pausing or cancelling the run",
    Duty.DRY_RUNS: "end the dry run",
}


def pause(failures: int) -> timedelta:
    """Return how long to leave a run alone after so many failures in a row."""
    if failures < PATIENCE:
        return timedelta()
    # Beyond 2**10 the longest pause holds in any case.
    grown = FIRST_PAUSE_S * 2 ** min(failures - PATIENCE, 10)
    return timedelta(seconds=min(grown, LONGEST_PAUSE_S))


def message(duty: Duty, failures: int) -> str:
    """Return what the record and the run's page say."""
    return (
        f"Cannot {WORDS[duty]}: {failures} attempts failed. The keeper tries again with"
        " growing pauses. An administrator finds the cause in the keeper's log."
    )
