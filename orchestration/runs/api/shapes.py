"""The JSON of runs, steps and dry runs, read from the rows."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count
from ninja import Field, Schema

from approvals.api import GateRow
from approvals.models import Gate
from execfabric.identity.http import page
from orchestration.runs import selectors
from orchestration.runs.models import DryRun, Run, StepRun


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
    kind: str
    state: str
    attempts: int = Field(alias="attempt_count")
    output: Any
    files: dict[str, Any]
    error: Any
    started_at: datetime | None
    finished_at: datetime | None


class RunRow(Schema):
    """A run in a list."""

    id: UUID
    state: str
    reason: str
    plan: str = Field(alias="revision.plan.slug")
    revision: int = Field(alias="revision.number")
    digest: str = Field(alias="revision.digest")
    proposer: str
    proposer_name: str
    trace_id: str
    url: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @staticmethod
    def resolve_url(run: Run, context: dict[str, Any]) -> str:
        return page(context["request"], "run", run.pk)


class RunOut(RunRow):
    """A run with its steps and open gates."""

    inputs: dict[str, Any]
    dry_run: DryRunRow | None
    """Null for a run of an older release."""
    gates: list[GateRow]
    steps: list[StepOut]

    @staticmethod
    def resolve_dry_run(run: Run) -> DryRun | None:
        return getattr(run, "dry_run", None)

    @staticmethod
    def resolve_gates(run: Run) -> Iterable[Gate]:
        return selectors.open_gates(run)

    @staticmethod
    def resolve_steps(run: Run) -> Iterable[StepRun]:
        return run.steps.annotate(attempt_count=Count("attempts")).order_by("position")


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
