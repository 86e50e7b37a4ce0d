"""The states of a verification job."""

from enum import StrEnum

from execfabric.lib.machine import Machine


class JobState(StrEnum):
    """Where a verification job is."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker verifies stream after stream under a lease
    FINISHED = "finished"  # every stream was verified; what was found is in the row
    FAILED = "failed"  # a stream could not be verified at all, several times


class JobEvent(StrEnum):
    """What can happen to a verification job."""

    CLAIMED = "claimed"
    RELEASED = "released"  # the worker's turn ended, or its lease lapsed
    FINISHED = "finished"
    FAILED = "failed"


S, E = JobState, JobEvent

# fmt: off
JOB: Machine[JobState, JobEvent] = Machine(
    name="verification",
    initial=S.QUEUED,
    rows=(
        # from       on           to
        (S.QUEUED,   E.CLAIMED,   S.RUNNING),
        (S.RUNNING,  E.RELEASED,  S.QUEUED),
        (S.RUNNING,  E.FINISHED,  S.FINISHED),
        (S.RUNNING,  E.FAILED,    S.FAILED),
    ),
    final=frozenset({S.FINISHED, S.FAILED}),
)
# fmt: on
