"""The statements that read a run with everything that it depends on."""

from approvals.selectors import DECISIONS, GATE_ROW, VOTERS
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
