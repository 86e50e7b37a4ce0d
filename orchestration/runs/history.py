"""Which columns of runs, steps and attempts the record covers."""

from collections.abc import Mapping
from typing import Any

from audit.domain.rows import RowFact
from audit.history import Table
from orchestration.runs.models import Attempt, Run, StepRun

RUN = Table(
    Run,
    key=("id",),
    exempt={
        "gate_id": "Compared with the last plan gate of the record.",
        "seq": "Says which event wrote the row last.",
        "version": "Counts writes by hand, which no event covers.",
    },
)
STEP = Table(
    StepRun,
    key=("id",),
    exempt={
        "run_id": "A row is looked up by it, and missing there.",
        "output": "Compared with the recorded digest of output and files.",
        "files": "Compared with the recorded digest of output and files.",
        "lease_until": "Says until when a worker is waited for; renewed all the time.",
        "hinted_at": "Says when workers were last notified; changes nothing.",
        "seq": "Says which event wrote the row last.",
    },
)
ATTEMPT = Table(
    Attempt,
    key=("step_run_id", "fence"),
    exempt={
        "id": "Has no meaning: attempts are sorted by fence.",
        "heartbeat_at": "Not used.",
    },
)


def attempt_begun(step: StepRun, fence: int, values: Mapping[str, Any]) -> RowFact:
    """Return a new attempt of a step with its columns."""
    return ATTEMPT.inserted(f"{step.id}:{fence}", values)


def attempt_ended(
    step: StepRun, fence: int, values: Mapping[str, Any], *, log: str = ""
) -> RowFact:
    """Return the columns that are set in the attempt of a step with that fence.

    `log` is the end and the digest of what it wrote, which is no column of the row.
    """
    fact = ATTEMPT.set(f"{step.id}:{fence}", values)
    if log:
        fact.columns["log"] = log
    return fact
