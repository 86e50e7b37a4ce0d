"""The report of a rollback: what has become of every step, with its files."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from audit import selectors as audit
from orchestration.plans.domain.undo import SUFFIX, is_undo
from orchestration.runs import selectors
from orchestration.runs.domain.results import KEPT
from orchestration.runs.domain.rollback import ReportedOutcome, outcome_of
from orchestration.runs.domain.states import (
    WITH_OUTPUT,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.models import CONTAINERS, ArtifactUse, Run, StepRun
from orchestration.runs.pages.places import StepPlaces
from orchestration.skills.domain.contract import EffectClass

REPORTED = frozenset(
    {RunState.ROLLING_BACK, RunState.ROLLED_BACK, RunState.ROLLBACK_FAILED}
)
"""The states of runs with a report."""


TARGETS = 200
"""The most steps that the page offers to roll back to."""


@dataclass(frozen=True)
class StepReport:
    row: StepRun
    title: str
    outcome: ReportedOutcome
    reason: str
    undo: StepRun | None
    """The step run of its undo, if it has one."""
    artifacts: list[ArtifactUse]


@dataclass(frozen=True)
class RollbackReport:
    """What has become of every step, in the order in which they completed."""

    reason: str
    """Why the run was rolled back, as it was last requested."""
    by: str
    """Who requested it."""
    back_to: str
    """The step that it went back to; empty for the start."""
    steps: list[StepReport]

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of steps per outcome."""
        found = [step.outcome for step in self.steps]
        return {str(one): n for one in ReportedOutcome if (n := found.count(one))}


def of_run(run: Run) -> RollbackReport | None:
    """Return the report of a run that is or was rolled back; None for any other."""
    if RunState(run.state) not in REPORTED:
        return None
    rows = list(run.steps.defer("output", "files").order_by("position"))
    undos = {row.parent_id: row for row in rows if is_undo(row.key)}
    uses: dict[UUID, list[ArtifactUse]] = defaultdict(list)
    used = ArtifactUse.objects.filter(step_run__run=run).select_related("artifact")
    for use in used.order_by("name", "pk"):
        uses[use.step_run_id].append(use)
    requests = _requests(run)
    request = requests[-1] if requests else {}
    # A continued rollback names only what it continues with.
    left = {
        each["step_run"]: each["reason"]
        for each in chain(*(one.get("not_undone", ()) for one in requests))
    }
    by_hand = _by_hand(run)
    places = StepPlaces(run)
    return RollbackReport(
        reason=str(request.get("reason", "")),
        by=str(request.get("by", "")),
        back_to=str(request.get("back_to", "")),
        steps=[
            _step(
                row,
                places.of(row).title,
                undos.get(row.pk),
                left.get(str(row.pk), ""),
                by_hand.get(str(row.pk), ""),
                uses[row.pk],
            )
            for row in _acting(rows)
        ],
    )


def targets_of(run: Run) -> list[str]:
    """Return the steps that a rollback can go back to, the one that completed last first."""
    rows = run.steps.filter(state__in=WITH_OUTPUT, completed_seq__isnull=False)
    rows = rows.exclude(state=StepState.COMPENSATED).exclude(key__endswith=SUFFIX)
    rows = rows.defer(*selectors.CONTENT).order_by("-completed_seq")
    places = StepPlaces(run)
    return [places.of(row).title for row in rows[:TARGETS]]


def _acting(rows: Iterable[StepRun]) -> list[StepRun]:
    """Return the steps in the order in which they completed, then those that did not.

    A list, a sub-plan and a step with a used fallback have done nothing themselves.
    """
    acting = [
        row
        for row in rows
        if row.kind not in CONTAINERS and not is_undo(row.key) and not row.used_fallback
    ]
    return sorted(acting, key=lambda row: (not row.completed_seq, row.completed_seq))


def _requests(run: Run) -> list[dict[str, Any]]:
    """Return the payload of each event that began a rollback, oldest first, and by whom."""
    kind = f"run.{RunEvent.ROLLBACK_STARTED}"
    events = [*audit.newest_of(run.stream, kind, "")]
    return [
        {**audit.envelope(event)["payload"], "by": event.actor_name}
        for event in reversed(events)
    ]


def _by_hand(run: Run) -> dict[str, str]:
    """Return by whom and how steps were undone by hand, by the ids of these steps."""
    kind = f"step.{StepEvent.COMPLETED_BY_HAND}"
    found = {}
    for event in audit.search(audit.Filter(stream=run.stream, kind=kind)):
        if is_undo(event.step):
            fact = audit.envelope(event)["payload"]
            found[fact["parent"]] = (
                f"{event.actor_name} undid it by hand: {fact['reason']}"
                f" Evidence: {fact['evidence']}"
            )
    return found


def _step(
    row: StepRun,
    title: str,
    undo: StepRun | None,
    left: str,
    by_hand: str,
    artifacts: list[ArtifactUse],
) -> StepReport:
    has_effect = row.effect_class != EffectClass.PURE and row.fence > 0
    outcome, reason = outcome_of(
        StepState(row.state),
        StepState(undo.state) if undo else None,
        ran=has_effect and (row.error or {}).get("ran") is not False,
        left=left,
        by_hand=by_hand,
    )
    error = (undo.error if undo else None) or {}
    is_kept = error.get("code") == KEPT
    if is_kept or row.state == StepState.COMPENSATION_FAILED:
        reason = str(error.get("message", reason))
    return StepReport(row, title, outcome, reason, undo, artifacts)
