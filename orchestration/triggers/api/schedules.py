"""Schedules of saved plans: list, create, change, pause, resume and delete."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Query, Router, Schema, Status

from execfabric.identity.http import ApiRequest, PeopleOnly, page
from execfabric.identity.paging import PageQuery, page_of
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from orchestration.runs.api.saved_plans import Number
from orchestration.triggers import selectors
from orchestration.triggers.domain import cron
from orchestration.triggers.domain.firings import CatchUp, Outcome, Overlap
from orchestration.triggers.domain.states import TriggerState
from orchestration.triggers.models import Firing, Schedule
from orchestration.triggers.services import schedules
from orchestration.triggers.services.schedules import ScheduleSettings

router = Router(tags=["schedules"])
FIRINGS = 50


class SettingsIn(Schema, extra="forbid"):
    """What the owner of a schedule chooses."""

    name: Annotated[str, Field(max_length=200)]
    cron: Annotated[str, Field(max_length=200)]
    """Minute, hour, day, month, day of the week."""
    zone: Annotated[str, Field(max_length=100)] = "UTC"
    revision: Number | None = None
    """A revision of the plan; the newest at each firing by default."""
    inputs: dict[str, Any] | None = None
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP

    def settings(self) -> ScheduleSettings:
        """Return the argument for the service."""
        values = {name: getattr(self, name) for name in SettingsIn.model_fields}
        return ScheduleSettings(**values | {"inputs": self.inputs or {}})


class ScheduleIn(SettingsIn, extra="forbid"):
    """A saved plan, and what the owner of its schedule chooses."""

    plan: Annotated[str, Field(max_length=100)]


class ScheduleQuery(PageQuery):
    """The schedules of one plan, and the cursor of the next page."""

    plan: Annotated[str, Field(max_length=100)] = ""


class NextQuery(Schema):
    """A cron expression and its time zone."""

    cron: Annotated[str, Field(max_length=200)]
    zone: Annotated[str, Field(max_length=100)] = "UTC"


class NextOut(Schema):
    """The next five times of a cron expression, in its zone."""

    items: list[datetime]


class ScheduleRow(Schema):
    """A schedule in a list."""

    id: UUID
    name: str
    plan: str = Field(alias="plan.slug")
    revision: int | None
    cron: str
    zone: str
    catch_up: CatchUp
    overlap: Overlap
    inputs: dict[str, Any]
    owner: str
    owner_name: str
    state: TriggerState
    reason: str
    """Why it paused itself."""
    refusals: int
    """Refused firings in a row."""
    next_at: datetime | None
    created_at: datetime
    url: str

    @staticmethod
    def resolve_url(row: Schedule, context: dict[str, Any]) -> str:
        return page(context["request"], "schedule", row.pk)


class ScheduleList(Schema):
    """Schedules in the order of their creation, and the cursor of the next page."""

    items: list[ScheduleRow]
    next: UUID | None


class FiringRow(Schema):
    """What a schedule did at one time, or why it skipped a row of times."""

    due_at: datetime
    last_due_at: datetime
    count: int
    outcome: Outcome
    code: str
    message: str
    run_id: UUID | None
    at: datetime


class ScheduleOut(ScheduleRow):
    """A schedule with its next and its last firings."""

    next: list[datetime]
    firings: list[FiringRow]

    @staticmethod
    def resolve_next(row: Schedule) -> list[datetime]:
        if not row.is_active:
            return []
        try:
            return cron.preview(row.cron, row.zone, after=clock.now())
        except Refusal:  # no time is left, or the zone is no longer known
            return []

    @staticmethod
    def resolve_firings(row: Schedule) -> list[Firing]:
        return selectors.latest_firings(row, FIRINGS)


@router.get("/schedules", response=ScheduleList)
def list_schedules(request: ApiRequest, query: Query[ScheduleQuery]) -> dict[str, Any]:
    """List the schedules that the holder of the token may see."""
    rows = selectors.schedules_visible_to(request.auth)
    if query.plan:
        rows = rows.filter(plan__slug=query.plan)
    return page_of(rows, query)


@router.post("/schedules", response={201: ScheduleOut}, auth=PeopleOnly())
def create_schedule(request: ApiRequest, body: ScheduleIn) -> Status[Schedule]:
    """Create a schedule of a saved plan.

    Its runs are proposed in the name of the holder of the token, who cannot approve them.
    """
    row = schedules.create(
        slug=body.plan, settings=body.settings(), by=request.auth, at=clock.now()
    )
    return Status(201, row)


@router.get("/schedules/next", response=NextOut)
def next_firings(request: ApiRequest, query: Query[NextQuery]) -> dict[str, Any]:  # noqa: ARG001
    """Return the next five times of a cron expression in a time zone."""
    return {"items": cron.preview(query.cron, query.zone, after=clock.now())}


@router.get("/schedules/{uuid:schedule_id}", response=ScheduleOut)
def get_schedule(request: ApiRequest, schedule_id: UUID) -> Schedule:
    """Return a schedule with its next and its last firings."""
    return selectors.schedule(request.auth, schedule_id)


@router.post(
    "/schedules/{uuid:schedule_id}:change", response=ScheduleOut, auth=PeopleOnly()
)
def change_schedule(
    request: ApiRequest, schedule_id: UUID, body: SettingsIn
) -> Schedule:
    """Replace the settings of a schedule, which the holder of the token then owns."""
    return schedules.change(
        schedule_id=schedule_id,
        settings=body.settings(),
        by=request.auth,
        at=clock.now(),
    )


@router.post(
    "/schedules/{uuid:schedule_id}:pause", response=ScheduleOut, auth=PeopleOnly()
)
def pause_schedule(request: ApiRequest, schedule_id: UUID) -> Schedule:
    """Pause a schedule."""
    return _act(schedules.pause, request, schedule_id)


@router.post(
    "/schedules/{uuid:schedule_id}:resume", response=ScheduleOut, auth=PeopleOnly()
)
def resume_schedule(request: ApiRequest, schedule_id: UUID) -> Schedule:
    """Resume a paused schedule from its next time on."""
    return _act(schedules.resume, request, schedule_id)


@router.post(
    "/schedules/{uuid:schedule_id}:delete", response=ScheduleOut, auth=PeopleOnly()
)
def delete_schedule(request: ApiRequest, schedule_id: UUID) -> Schedule:
    """Delete a schedule; its firings stay in the audit log."""
    return _act(schedules.delete, request, schedule_id)


def _act(
    act: Callable[..., Schedule], request: ApiRequest, schedule_id: UUID
) -> Schedule:
    return act(schedule_id=schedule_id, by=request.auth, at=clock.now())
