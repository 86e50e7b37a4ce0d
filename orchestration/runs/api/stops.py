"""API to stop the dispatch of steps, to lift such stops, and to list them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Query, Router, Schema, Status

from execfabric.identity.http import ApiRequest, PeopleOnly
from execfabric.identity.paging import PageQuery, page_of
from execfabric.lib import clock
from orchestration.runs.control import stops
from orchestration.runs.models import Stop

router = Router(tags=["stops"])


class StopIn(Schema, extra="forbid"):
    """Which steps to stop, and why."""

    skill: Annotated[str, Field(max_length=64)] = ""
    """The skill whose steps stop; empty for all steps."""
    reason: str
    cancel: bool = False
    """True to cancel the runs whose steps are running."""


class LiftIn(Schema, extra="forbid"):
    """Why a stop is lifted."""

    reason: str


class StopOut(Schema):
    """A stop of all steps, or of those of one skill."""

    id: UUID
    skill: str
    """Empty for all steps."""
    reason: str
    cancel: bool = Field(alias="cancels")
    is_active: bool
    running: int
    """How many steps that it covers still run; 0 once it is lifted."""
    set_by: str
    set_by_name: str
    set_at: datetime
    lifted_by: str
    lifted_by_name: str
    lifted_at: datetime | None
    lift_reason: str

    @staticmethod
    def resolve_running(stop: Stop) -> int:
        return stops.still_running(stop)


class StopQuery(PageQuery):
    """Filters for the list of stops."""

    active: bool = False
    """True for only those that have not been lifted."""


class StopPage(Schema):
    """Stops, newest first, and the cursor of the next page."""

    items: list[StopOut]
    next: UUID | None


@router.get("/stops", response=StopPage)
def list_stops(request: ApiRequest, query: Query[StopQuery]) -> dict[str, Any]:  # noqa: ARG001
    """List stops, newest first. Everyone may read them."""
    rows = Stop.objects.all()
    if query.active:
        rows = rows.filter(lifted_at__isnull=True)
    return page_of(rows, query, newest_first=True)


@router.post("/stops", response={201: StopOut}, auth=PeopleOnly())
def set_stop(request: ApiRequest, body: StopIn) -> Status[Stop]:
    """Stop all steps, or those of one skill: after the answer, none starts."""
    row = stops.stop(**body.model_dump(), by=request.auth, at=clock.now())
    return Status(201, row)


@router.post("/stops/{uuid:stop_id}:lift", response=StopOut, auth=PeopleOnly())
def lift_stop(request: ApiRequest, stop_id: UUID, body: LiftIn) -> Stop:
    """Lift a stop: steps that no other stop covers start again."""
    return stops.lift(
        stop_id=stop_id, reason=body.reason, by=request.auth, at=clock.now()
    )
