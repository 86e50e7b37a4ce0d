"""The states of a verification job, and every legal move."""

from enum import StrEnum

from execfabric.lib.machine import StateMachine


class JobState(StrEnum):
    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker verifies stream after stream under a lease
    FINISHED = "finished"  # every stream was verified; the result is in the row
    FAILED = "failed"  # a stream could not be verified after several tries


class JobEvent(StrEnum):
    CLAIMED = "claimed"
    RELEASED = "released"  # the worker's turn ended, or its lease lapsed
    FINISHED = "finished"
    FAILED = "failed"


J, K = JobState, JobEvent

# fmt: off
JOB: StateMachine[JobState, JobEvent] = StateMachine(
    name="verification",
    initial=J.QUEUED,
    rows=(
        # from       on           to
        (J.QUEUED,   K.CLAIMED,   J.RUNNING),
        (J.RUNNING,  K.RELEASED,  J.QUEUED),
        (J.RUNNING,  K.FINISHED,  J.FINISHED),
        (J.RUNNING,  K.FAILED,    J.FAILED),
    ),
    final=frozenset({J.FINISHED, J.FAILED}),
)
# fmt: on
