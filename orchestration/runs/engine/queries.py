"""The statements that read a run with everything that it depends on."""

from collections.abc import Iterable, Sequence
from typing import Any

from approvals.selectors import DECISIONS, GATE_ROW, VOTERS
from audit.errors import StreamUnknown
from audit.services import End
from execfabric.infra import database
from orchestration.plans.models import PlanRevision
from orchestration.runs.models import Run, StepRun
from orchestration.skills.selectors import PINNED

NOT_OF_STEP = ("output", "files")
NOT_OF_REVISION = ("source",)
LOCK_RUN = (
    f"SELECT {database.columns(Run, prefix='run')} FROM runs_run AS run"
    " WHERE run.id = %s FOR UPDATE"
)
READ_REVISION = (
    f"SELECT {database.columns(PlanRevision, but=NOT_OF_REVISION)}"
    " FROM plans_planrevision"
    " WHERE id = (SELECT revision_id FROM runs_run WHERE id = %s)"
)
READ_STEPS = (
    f"SELECT {database.columns(StepRun, prefix='step', but=NOT_OF_STEP)}"
    " FROM runs_steprun AS step WHERE step.run_id = %s ORDER BY step.position"
)
# The events since `seq` name the steps that were written.
READ_WRITTEN_STEPS = READ_STEPS.replace(
    " ORDER",
    " AND step.seq > %s AND step.key IN"
    " (SELECT step FROM audit_event WHERE stream = %s AND seq > %s) ORDER",
)
_GATE_OF_RUN = "(SELECT gate_id FROM runs_run WHERE id = %s)"
READ_GATE = f"{GATE_ROW} {_GATE_OF_RUN}"
READ_DECISIONS = DECISIONS.replace("%s", _GATE_OF_RUN)
READ_VOTERS = VOTERS.replace("%s", _GATE_OF_RUN)
READ_PINNED = (
    f"{PINNED} (SELECT (pin.value ->> 'version_id')::uuid FROM runs_run AS run,"
    " jsonb_each(run.pins) AS pin WHERE run.id = %s)"
)


def steps_from(rows: Iterable[database.Row]) -> list[StepRun]:
    """Return the step runs of rows, without outputs and files."""
    return [database.instance(StepRun, row, but=NOT_OF_STEP) for row in rows]


def end_from(rows: Sequence[Any], stream: str) -> End:
    """Return the end of a stream.

    :raises StreamUnknown: when there is no row of it
    """
    if not rows:
        raise StreamUnknown(stream=stream)
    return End(int(rows[0][0]), bytes(rows[0][1]))
