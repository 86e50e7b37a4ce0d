"""Dry runs for clients: queue one, read how far it is and what it found."""

from uuid import UUID

from ninja import Router, Status

from execfabric.identity.http import ApiRequest
from execfabric.lib import clock
from orchestration.plans.api import PlanIn
from orchestration.runs import selectors
from orchestration.runs.api.shapes import DryRunOut
from orchestration.runs.control import dry_runs
from orchestration.runs.models import DryRun

router = Router(tags=["plans"])


@router.post("/plans:dry-run", response={202: DryRunOut})
def start_dry_run(request: ApiRequest, body: PlanIn) -> Status[DryRun]:
    """Queue the dry run of a plan; a worker carries it out and changes nothing."""
    queued = dry_runs.request(
        text=body.text(), inputs=body.inputs or {}, by=request.auth, at=clock.now()
    )
    return Status(202, queued)


@router.get("/dry-runs/{uuid:dry_run_id}", response=DryRunOut)
def get_dry_run(request: ApiRequest, dry_run_id: UUID) -> DryRun:
    """Say how far a dry run is and, once it has ended, what each step would do."""
    return selectors.dry_run(request.auth, dry_run_id)
