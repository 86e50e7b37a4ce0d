"""Define which columns of runs, steps and attempts the record covers."""

from collections.abc import Mapping
from typing import Any

from audit.domain.rows import RowFact
from audit.history import Table
from orchestration.runs.models import Attempt, Run, StepRun

RUN = Table(
    Run,
    key=("id",),
    exempt={
        "gate_id": "Compared with the last plan gate in the record.",
        "idempotency_key": "Recognizes a repeated request; nothing that runs uses it.",
        "request_digest": "Recognizes a repeated request; nothing that runs uses it.",
        "seq": "The number of the last event that wrote the row.",
        "version": "Counts writes without an event.",
    },
)
STEP = Table(
    StepRun,
    key=("id",),
    exempt={
        "run_id": "Rows are looked up by it; a wrong one is missing there.",
        "output": "Compared with the recorded digest of output and files.",
        "files": "Compared with the recorded digest of output and files.",
        "lease_until": "Renewed continuously while the step runs.",
        "hinted_at": "When workers were last hinted; changes nothing.",
        "seq": "The number of the last event that wrote the row.",
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
    """Return the columns of a new attempt."""
    return ATTEMPT.inserted(f"{step.id}:{fence}", values)


def attempt_ended(
    step: StepRun, fence: int, values: Mapping[str, Any], *, log: str = ""
) -> RowFact:
    """Return the columns set at the end of an attempt.

    `log` is the length and digest of its log, which is not a column of the row.
    """
    fact = ATTEMPT.set(f"{step.id}:{fence}", values)
    if log:
        fact.columns["log"] = log
    return fact
