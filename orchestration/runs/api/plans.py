"""Plans for clients: check one, dry-run it, and read its dry run."""

from typing import Any
from uuid import UUID

from ninja import Router, Schema, Status

from execfabric.identity.http import ApiRequest
from execfabric.lib import canonical, clock
from orchestration.plans.services import check as plans
from orchestration.plans.services.check import CheckedPlan
from orchestration.runs import selectors
from orchestration.runs.api.shapes import DryRunOut
from orchestration.runs.control import dry_runs, uploads
from orchestration.runs.models import DryRun

router = Router(tags=["plans"])


class SavedPlanIn(Schema, extra="forbid"):
    """A plan as YAML or JSON text or as a JSON object."""

    plan: str | dict[str, Any]

    def text(self) -> str:
        """Return the plan as text; an object becomes canonical JSON."""
        if isinstance(self.plan, str):
            return self.plan
        return canonical.dumps(self.plan).decode()


class PlanIn(SavedPlanIn, extra="forbid"):
    """A plan as YAML or JSON text or as a JSON object, and the inputs of a run."""

    inputs: dict[str, Any] | None = None


class GatePlanned(Schema):
    """A gate that a run of the plan would have; without a step, of the whole plan."""

    step: str | None
    kind: str
    reason: str


class ProblemOut(Schema):
    """One problem of a plan, with its position in the text."""

    code: str
    message: str
    step: str | None
    line: int | None
    column: int | None
    severity: str


class CheckedOut(Schema):
    """The result of validating a plan."""

    valid: bool
    digest: str | None
    order: list[str]
    """The steps in order; those of sub-plans as paths."""
    gates: list[GatePlanned]
    problems: list[ProblemOut]

    @staticmethod
    def resolve_order(checked: CheckedPlan) -> list[str]:
        return checked.paths if checked.valid else list(checked.order)

    @staticmethod
    def resolve_digest(checked: CheckedPlan) -> str | None:
        return checked.digest or None


@router.post("/plans:validate", response=CheckedOut)
def validate(request: ApiRequest, body: PlanIn) -> CheckedPlan:
    """Return everything that is wrong with a plan; nothing is stored."""
    at = clock.now()
    return plans.check(
        text=body.text(),
        inputs=body.inputs,
        by=request.auth,
        files=uploads.finder(request.auth, at),
        at=at,
    )


@router.post("/plans:dry-run", response={202: DryRunOut})
def start_dry_run(request: ApiRequest, body: PlanIn) -> Status[DryRun]:
    """Queue the dry run of a plan; a worker runs it and changes nothing."""
    queued = dry_runs.request(
        text=body.text(), inputs=body.inputs or {}, by=request.auth, at=clock.now()
    )
    return Status(202, queued)


@router.get("/dry-runs/{uuid:dry_run_id}", response=DryRunOut)
def get_dry_run(request: ApiRequest, dry_run_id: UUID) -> DryRun:
    """Return the progress of a dry run and, once it has ended, its report."""
    return selectors.dry_run(request.auth, dry_run_id)
