"""The JSON of runs, steps and dry runs, read from the rows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count
from ninja import Field, Schema

from approvals.api import GateRow
from approvals.models import Gate
from execfabric.identity.http import page
from execfabric.lib import clock
from execfabric.lib.ids import scope_span
from orchestration.plans.domain.fallbacks import is_fallback
from orchestration.plans.domain.subplans import joined
from orchestration.plans.domain.undo import is_undo
from orchestration.runs import outputs, selectors
from orchestration.runs.api.edit_shapes import EditOut
from orchestration.runs.api.probe_shapes import ProbeOut, probe_of
from orchestration.runs.control.stops import holding
from orchestration.runs.domain.run_status import RunStatus, WaitingFor, WaitKind
from orchestration.runs.domain.states import FINAL_RUN, RunState
from orchestration.runs.engine import places
from orchestration.runs.models import DryRun, Run, StepRun, Stop
from orchestration.runs.pages import rollback_report, run_edits, statuses
from orchestration.runs.pages.rollback_report import RollbackReport
from orchestration.runs.pages.run_edits import RunEdit


class StepFailure(Schema):
    """A step that would fail, and why."""

    step: str
    message: str


class DryRunRow(Schema):
    """The progress of a dry run, and the steps that would fail."""

    id: UUID
    run_id: UUID | None
    state: str
    reason: str
    steps_done: int
    steps_total: int
    coverage: int | None = Field(None, alias="report.coverage")
    """The percentage of skill steps whose dry run worked; null without a report."""
    would_fail: list[StepFailure] = Field([], alias="report.would_fail")
    url: str
    created_at: datetime
    finished_at: datetime | None

    @staticmethod
    def resolve_url(row: DryRun, context: dict[str, Any]) -> str:
        return page(context["request"], "dry_run", row.pk)


class DryRunOut(DryRunRow):
    """A dry run with its report, once it has ended."""

    digest: str
    order: list[str]
    limits: list[str] = Field([], alias="report.limits")
    steps: list[dict[str, Any]] = Field([], alias="report.steps")


class StepOut(Schema):
    """One step of a run."""

    id: str = Field(alias="key")
    """The step's id in the plan."""
    step_run_id: UUID = Field(alias="pk")
    item: int | None
    """For an item of a list its index, from 0."""
    value: Any
    """For an item of a list its value."""
    kind: str
    """`for_each` for a step with items, else the kind in the plan."""
    state: str
    attempts: int = Field(alias="attempt_count")
    output: Any
    files: dict[str, Any]
    used_fallback: bool
    """True if it failed, and its output is that of its fallback."""
    reused_from: UUID | None = Field(alias="reused_from_id")
    """The step run of an earlier run whose result it has; null if it ran itself."""
    waits_until: datetime | None = Field(alias="not_before")
    """The end of its wait, or of the pause before its next attempt."""
    condition: Any
    """Why it runs or not: its condition with the result, the rule that it has chosen."""
    error: Any
    probe: ProbeOut | None
    """What a probe found out about its last unknown outcome; null without one."""
    concurrency_key: str
    """The key that it shares with other steps, with its values; empty without one."""
    admitted_at: datetime | None
    """When it got its place for the key."""
    due_at: datetime | None
    """When it has to have ended, if it has a service level."""
    breached_at: datetime | None
    """When it was first found to be late."""
    started_at: datetime | None
    finished_at: datetime | None
    plan: str | None
    """For a step that runs a saved plan, its id."""
    revision: int | None
    """The revision of that plan."""
    session_id: str | None
    """The session of its steps in the trace, once that plan has started."""
    items: list["StepOut"]
    """The step runs inside: the items of a list, or the steps of a sub-plan."""

    @staticmethod
    def resolve_value(step: StepRun) -> Any:
        return (step.item_value or {}).get("value")

    @staticmethod
    def resolve_probe(step: StepRun) -> ProbeOut | None:
        return probe_of(step)

    @staticmethod
    def resolve_items(step: StepRun) -> list[StepRun]:
        return getattr(step, "members", [])


class WaitOut(Schema):
    """Something that a run waits for."""

    kind: WaitKind
    text: str
    """What it is, as a sentence without a full stop."""
    step: str
    """The step; empty for the run or its plan."""
    groups: dict[str, int]
    """For an approval, how many of each group must still approve."""
    name: str
    """The concurrency key, or the event."""
    run: str
    """The run that came first, if it waits for a place."""
    since: datetime | None
    until: datetime | None

    @staticmethod
    def resolve_groups(wait: WaitingFor) -> dict[str, int]:
        return dict(wait.groups)


class RunRow(Schema):
    """A run in a list."""

    id: UUID
    state: str
    reason: str
    status: str
    """What it does now, how far it is and how long it worked, in a sentence."""
    waiting_for: list[WaitOut]
    """What it waits for, the most important first; empty if it works or has ended."""
    progress: dict[str, int]
    """The steps of the plan: `total`, `done`, `failed`, `skipped` and others."""
    worked_s: float
    """Seconds in which at least one step was running."""
    waited_s: float
    """Seconds since it was proposed in which no step was running."""
    plan: str = Field(alias="revision.plan.slug")
    revision: int = Field(alias="revision.saved_number")
    digest: str = Field(alias="revision.digest")
    proposer: str
    proposer_name: str
    trace_id: str
    parent_trace_id: str
    """The trace of the system that proposed it; empty without one."""
    rerun_of: UUID | None = Field(alias="rerun_of_id")
    """The run that it runs again."""
    rerun_from: str
    """The first step that runs in any case; empty if all of them do."""
    url: str
    created_at: datetime
    started_at: datetime | None
    due_at: datetime | None
    """When it has to have ended, if the plan has a service level."""
    breached_at: datetime | None
    """When it was first found to be late."""
    finished_at: datetime | None

    @staticmethod
    def resolve_url(run: Run, context: dict[str, Any]) -> str:
        return page(context["request"], "run", run.pk)

    @staticmethod
    def resolve_status(run: Run) -> str:
        return _status(run).sentence

    @staticmethod
    def resolve_waiting_for(run: Run) -> tuple[WaitingFor, ...]:
        return _status(run).waiting_for

    @staticmethod
    def resolve_progress(run: Run) -> dict[str, int]:
        return _status(run).counts.named()

    @staticmethod
    def resolve_worked_s(run: Run) -> float:
        return round(_status(run).worked_s, 3)

    @staticmethod
    def resolve_waited_s(run: Run) -> float:
        return round(_status(run).waited_s, 3)


def _status(run: Any) -> RunStatus:
    """Return the status of a run; read it once if it is not of a list."""
    if not hasattr(run, "shown_status"):
        statuses.attach([run], at=clock.now())
    status: RunStatus = run.shown_status
    return status


class QueueEntry(Schema):
    """A run or a step that waits for a place of its concurrency key."""

    step: str
    """The key of the step; empty for the run itself."""
    key: str
    max: int
    position: int
    """Its position among those that wait, from 1."""
    waits_for: list[dict[str, str]]
    """The first runs and steps before it."""


class TemplateOut(Schema):
    """A revision of a saved plan."""

    plan: str = Field(alias="plan.slug")
    revision: int = Field(alias="number")


class ReportedFile(Schema):
    """A file that a step returned."""

    name: str
    sha256: str = Field(alias="artifact_id")


class StepReportOut(Schema):
    """What has become of one step."""

    step: str = Field(alias="title")
    step_run_id: UUID = Field(alias="row.pk")
    outcome: str
    """`done`, `undone`, `not_undone`, `failed`, `skipped` or `unknown`."""
    reason: str
    undo_step_run_id: UUID | None = Field(None, alias="undo.pk")
    undo_state: str | None = Field(None, alias="undo.state")
    files: list[ReportedFile] = Field(alias="artifacts")


class ReportOut(Schema):
    """The report of a rollback."""

    reason: str
    by: str
    to: str = Field(alias="back_to")
    counts: dict[str, int]
    steps: list[StepReportOut]


class HeldBy(Schema):
    """A stop that holds a run."""

    id: UUID
    skill: str
    """Empty for all steps."""
    reason: str


class RunOut(RunRow):
    """A run with its steps and open gates."""

    template: TemplateOut | None
    """The revision that its plan was written from, if it is another one."""
    inputs: dict[str, Any]
    concurrency_key: str
    """The key that it shares with other runs, with its values; empty without one."""
    admitted_at: datetime | None
    """When it got its place for the key."""
    queue: list[QueueEntry]
    """What waits for a place now, and for whom."""
    stops: list[HeldBy]
    """The active stops that keep a ready step of it from starting."""
    dry_run: DryRunRow | None
    """Null for a run of an older release."""
    gates: list[GateRow]
    steps: list[StepOut]
    output: dict[str, Any] | None
    """The declared outputs of a run that succeeded; null if it has none."""
    edits: list[EditOut]
    """The edits with which the run goes on, or waits to; newest first."""
    rollback: ReportOut | None
    """What has become of each step of a run that is or was rolled back."""

    @staticmethod
    def resolve_edits(run: Run) -> list[RunEdit]:
        return run_edits.of_run(run)

    @staticmethod
    def resolve_rollback(run: Run) -> RollbackReport | None:
        return rollback_report.of_run(run)

    @staticmethod
    def resolve_output(run: Run) -> dict[str, Any] | None:
        return outputs.of_run(run)

    @staticmethod
    def resolve_dry_run(run: Run) -> DryRun | None:
        return run.dry_run

    @staticmethod
    def resolve_stops(run: Run) -> list[Stop]:
        return holding(run)

    @staticmethod
    def resolve_queue(run: Run) -> list[dict[str, Any]]:
        if RunState(run.state) in FINAL_RUN:
            return []
        return [
            {
                "step": waiting.step,
                "key": waiting.place.key,
                "max": waiting.place.limit,
                "position": waiting.place.position,
                "waits_for": waiting.before,
            }
            for waiting in places.queue_of(run.pk)
        ]

    @staticmethod
    def resolve_gates(run: Run) -> Iterable[Gate]:
        return selectors.open_gates(run)

    @staticmethod
    def resolve_steps(run: Run) -> Iterable[StepRun]:
        """Return the steps of the plan, each with the step runs inside it."""
        below: dict[UUID | None, list[StepRun]] = defaultdict(list)
        rows = run.steps.annotate(attempt_count=Count("attempts"))
        paths: dict[UUID, str] = {}
        lists: dict[UUID, UUID | None] = {}
        for row in rows.order_by("position"):
            if is_undo(row.key):
                continue
            outer = paths.get(row.parent_id, "") if row.parent_id else ""
            is_part = row.item is not None or is_fallback(row.key)
            paths[row.pk] = outer if is_part else joined(outer, row.key)
            pin = run.pins.get(paths[row.pk], {}) if row.kind == "plan" else {}
            below[_listed_below(row, lists)].append(row)
            lists[row.pk] = row.parent_id
            session = scope_span(run.trace_id, row.pk) if row.has_session else None
            inside: dict[str, Any] = {"members": below[row.pk], "session_id": session}
            inside |= {"plan": None, "revision": None}
            row.__dict__.update(
                inside | {k: pin[k] for k in ("plan", "revision") if pin}
            )
        return below[None]


def _listed_below(row: StepRun, lists: Mapping[UUID, UUID | None]) -> UUID | None:
    """Return the step run whose list a step run is in; a fallback follows its step."""
    is_fallback_of_step = row.item is None and is_fallback(row.key)
    return (
        lists[row.parent_id] if is_fallback_of_step and row.parent_id else row.parent_id
    )


class RunList(Schema):
    """Runs, newest first, and the cursor of the next page."""

    items: list[RunRow]
    next: UUID | None


class Proposed(Schema):
    """The proposed run."""

    run_id: UUID = Field(alias="pk")
    state: str
    url: str

    @staticmethod
    def resolve_url(run: Run, context: dict[str, Any]) -> str:
        return page(context["request"], "run", run.pk)
