"""The edits of failed steps with which a run went on, or waits to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestration.plans import selectors as plans
from orchestration.plans.domain.differences import FieldChange
from orchestration.plans.models import PlanRevision
from orchestration.runs.models import Run


@dataclass(frozen=True)
class RunEdit:
    """An edit of the parameters of a step."""

    revision: PlanRevision
    changes: Sequence[FieldChange]
    is_pending: bool
    """True while it waits for its approval."""
    in_other_run: bool
    """True if it was made in the run that this run repeats."""

    @property
    def step(self) -> str:
        return self.revision.edited_step

    @property
    def reason(self) -> str:
        return self.revision.edit_reason

    @property
    def at(self) -> datetime:
        return self.revision.created_at


def of_run(run: Run) -> list[RunEdit]:
    """Return the edits of the plan of a run, newest first."""
    edited = [row for row in run.revision.lineage if row.parent_id is not None]
    return [
        RunEdit(
            revision=row,
            changes=plans.edited_values(row),
            is_pending=run.gate_before is not None and row is run.revision,
            in_other_run=row.edited_in != run.pk,
        )
        for row in edited
    ]
