"""API to preview the rollback of a run, to begin it, and to find what has failed."""

from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Query, Router, Schema

from execfabric.identity.http import ApiRequest, PeopleOnly
from execfabric.lib import clock
from orchestration.runs import selectors
from orchestration.runs.api.acts import Text
from orchestration.runs.api.saved_plans import PlanName
from orchestration.runs.api.shapes import RunOut, RunRow
from orchestration.runs.control import rollback
from orchestration.runs.engine.undos import Rollback
from orchestration.runs.models import Run

router = Router(tags=["runs"])
To = Annotated[str, Field(max_length=1_000)]


class UndoOut(Schema):
    """The undo of one step, with the exact parameters."""

    step: str = Field(alias="title")
    step_run_id: UUID = Field(alias="step.pk")
    skill: str
    action: str
    params: Any
    needs_approval: bool
    reason: str
    """Why it cannot run; empty if it can."""


class NotUndoneOut(Schema):
    """A step that the rollback leaves as it is, and why."""

    step: str = Field(alias="title")
    step_run_id: UUID = Field(alias="step.pk")
    reason: str


class RollbackOut(Schema):
    """What a rollback would do now, in the order in which it would run."""

    digest: str
    """Send it to confirm exactly this."""
    to: str
    undo: list[UndoOut] = Field(alias="undos")
    not_undone: list[NotUndoneOut]
    read_only: list[str]


class RollbackQuery(Schema):
    """The step that stays, with all that completed before it."""

    to: To = ""


class RollbackIn(Schema, extra="forbid"):
    """The confirmation of a previewed rollback."""

    reason: Text
    digest: Annotated[str, Field(max_length=64)]
    to: To = ""


@router.get("/runs/{uuid:run_id}/rollback", response=RollbackOut)
def preview(request: ApiRequest, run_id: UUID, query: Query[RollbackQuery]) -> Rollback:
    """Preview the rollback of a run, or back to the step `to`. Nothing is changed."""
    by, at = request.auth, clock.now()
    return rollback.preview(run_id=run_id, by=by, at=at, to=query.to)


@router.post("/runs/{uuid:run_id}:rollback", response=RunOut, auth=PeopleOnly())
def roll_back(request: ApiRequest, run_id: UUID, body: RollbackIn) -> Run:
    """Begin the rollback that was previewed, or continue one that has stopped."""
    rollback.roll_back(
        run_id=run_id, **body.model_dump(), by=request.auth, at=clock.now()
    )
    return selectors.get(request.auth, run_id, needs={"inputs"})


@router.get("/plans/{plan_id}/last-failed-run", response=RunRow, tags=["plans"])
def last_failed_run(request: ApiRequest, plan_id: PlanName) -> Run:
    """Return the newest run of a plan that failed, or that a failure has paused."""
    return selectors.last_failed(request.auth, plan_id)
