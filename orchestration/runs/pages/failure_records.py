"""The failed attempts of visible runs, the newest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.domain.failure_names import FailureName, name_of
from orchestration.runs.domain.states import Phase
from orchestration.runs.models import Attempt, Run, StepRun

WIDE = (
    *(f"step_run__{name}" for name in (*selectors.CONTENT, "item_value", "condition")),
    *(f"step_run__run__{name}" for name in sorted(selectors.LARGE)),
)
"""Large columns behind an attempt that a record does not show."""


@dataclass(frozen=True)
class FailureRecord:
    """One failed attempt: its error, its inputs by reference, and its trace."""

    attempt: Attempt

    @property
    def step(self) -> StepRun:
        return self.attempt.step_run

    @property
    def run(self) -> Run:
        return self.step.run

    @property
    def error(self) -> dict[str, Any]:
        return self.attempt.result or {
            "code": "step.worker_lost",
            "message": "The worker was lost.",
            "ran": None,
        }

    @property
    def name(self) -> FailureName:
        is_lost = self.attempt.phase == Phase.LOST
        kind = "step.outcome_unknown" if is_lost else "step.failed"
        return name_of(kind, {"error": self.error}) or FailureName.FAILED

    @property
    def elapsed_ms(self) -> int | None:
        """Return how long the attempt took."""
        ended: datetime | None = self.attempt.ended_at
        if ended is None:
            return None
        return round((ended - self.attempt.started_at).total_seconds() * 1000)


def of_visible(by: Actor) -> "QuerySet[Attempt]":
    """Return the failed and lost attempts of the runs that `by` may see."""
    runs = selectors.visible_to(by).order_by().values("pk")
    rows = Attempt.objects.filter(
        phase__in=[Phase.FAILED, Phase.LOST], step_run__run__in=runs
    )
    return rows.select_related("step_run__run__revision__plan").defer(*WIDE)


def page(
    by: Actor, *, after: int | None = None, limit: int
) -> tuple[list[FailureRecord], int | None]:
    """Return one page of records, and the cursor of the next one."""
    rows = of_visible(by).order_by("-pk")
    if after is not None:
        rows = rows.filter(pk__lt=after)
    found = list(rows[: limit + 1])
    following = found[limit - 1].pk if len(found) > limit else None
    return [FailureRecord(row) for row in found[:limit]], following
