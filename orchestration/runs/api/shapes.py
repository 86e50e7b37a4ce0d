"""What a run and its steps look like to a client."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Schema

from approvals.api import GateRow
from approvals.api import row_of as gate_row
from execfabric.accounts.http import page
from orchestration.runs.models import DryRun, Run
from orchestration.runs.selectors import RunDetail, StepDetail, dry_run_of


class StepFailure(Schema):
    """A step that would fail, and why."""

    step: str
    message: str


class DryRunRow(Schema):
    """How far a dry run is, and whether a step would fail."""

    id: UUID
    run_id: UUID | None
    state: str
    reason: str
    steps_done: int
    steps_total: int
    coverage: int | None
    """Per cent of the skill steps whose dry run worked; null without a report."""
    would_fail: list[StepFailure]
    url: str
    created_at: datetime
    finished_at: datetime | None


class StepOut(Schema):
    """One step of a run."""

    id: str
    """The step's id in the plan."""
    step_run_id: UUID
    kind: str
    state: str
    attempts: int
    output: Any
    files: dict[str, Any]
    error: Any
    started_at: datetime | None
    finished_at: datetime | None


class RunRow(Schema):
    """A run as it stands in a list."""

    id: UUID
    state: str
    reason: str
    plan: str
    revision: int
    digest: str
    proposer: str
    proposer_name: str
    trace_id: str
    url: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunOut(RunRow):
    """A run with its steps and the gates that are open."""

    inputs: dict[str, Any]
    dry_run: DryRunRow | None
    gates: list[GateRow]
    steps: list[StepOut]


class RunList(Schema):
    """Runs, newest first, and the id to go on behind."""

    items: list[RunRow]
    next: UUID | None


class Proposed(Schema):
    """The run that a proposal made."""

    run_id: UUID
    state: str
    url: str


def row_of(request: HttpRequest, run: Run) -> dict[str, Any]:
    """What every view of a run states."""
    return {
        "id": run.pk,
        "state": run.state,
        "reason": run.reason,
        "plan": run.revision.plan.slug,
        "revision": run.revision.number,
        "digest": run.revision.digest,
        "proposer": run.proposer,
        "proposer_name": run.proposer_name,
        "trace_id": run.trace_id,
        "url": page(request, "run", run.pk),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }


def run_out(request: HttpRequest, found: RunDetail) -> RunOut:
    """A run in full."""
    gates = [found.gate, *(step.gate for step in found.steps)]
    return RunOut(
        **row_of(request, found.run),
        inputs=found.run.inputs,
        dry_run=_dry_run(request, found.run),
        gates=[
            GateRow(**gate_row(request, gate))
            for gate in gates
            if gate and gate.is_open
        ],
        steps=[_step(step) for step in found.steps],
    )


def dry_run_row(row: DryRun) -> dict[str, Any]:
    """What every view of a dry run states, but for its address."""
    report = row.report or {}
    return {
        "id": row.pk,
        "run_id": row.run_id,
        "state": row.state,
        "reason": row.reason,
        "steps_done": row.steps_done,
        "steps_total": row.steps_total,
        "coverage": report.get("coverage"),
        "would_fail": report.get("would_fail", []),
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }


def _dry_run(request: HttpRequest, run: Run) -> DryRunRow | None:
    row = dry_run_of(run)
    if row is None:
        return None
    return DryRunRow(**dry_run_row(row), url=page(request, "dry_run", row.pk))


def _step(found: StepDetail) -> StepOut:
    row = found.step_run
    return StepOut(
        id=row.key,
        step_run_id=row.pk,
        kind=row.kind,
        state=row.state,
        attempts=len(found.attempts),
        output=row.output,
        files=row.files,
        error=row.error,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
