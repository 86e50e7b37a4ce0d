"""Dry runs for clients: queue one, read how far it is and what it found."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Status

from execfabric.accounts.http import ApiRequest, page
from execfabric.lib import clock
from orchestration.plans.api import PlanIn
from orchestration.runs import selectors
from orchestration.runs.api.shapes import DryRunRow, dry_run_row
from orchestration.runs.models import DryRun
from orchestration.runs.services import dry_runs

router = Router(tags=["plans"])


class DryRunOut(DryRunRow):
    """A dry run with its report, once it has ended."""

    digest: str
    order: list[str]
    limits: list[str]
    steps: list[dict[str, Any]]


@router.post("/plans:dry-run", response={202: DryRunOut})
def start_dry_run(request: ApiRequest, body: PlanIn) -> Status[DryRunOut]:
    """Queue the dry run of a plan; a worker carries it out and changes nothing."""
    queued = dry_runs.request(
        text=body.text(), inputs=body.inputs or {}, by=request.auth, at=clock.now()
    )
    return Status(202, _out(request, queued))


@router.get("/dry-runs/{uuid:dry_run_id}", response=DryRunOut)
def get_dry_run(request: ApiRequest, dry_run_id: UUID) -> DryRunOut:
    """Say how far a dry run is and, once it has ended, what each step would do."""
    return _out(request, selectors.dry_run(request.auth, dry_run_id))


def _out(request: HttpRequest, row: DryRun) -> DryRunOut:
    report = row.report or {}
    return DryRunOut(
        **dry_run_row(row),
        url=page(request, "dry_run", row.pk),
        digest=row.digest,
        order=row.order,
        limits=report.get("limits", []),
        steps=report.get("steps", []),
    )
