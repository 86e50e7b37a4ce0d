"""Saved plans for clients: save, list, show, start, compare, and rights."""

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Field, Header, Path, Query, Router, Schema, Status

from execfabric.identity.http import ApiRequest, PeopleOnly, page
from execfabric.lib import clock
from orchestration.plans import selectors
from orchestration.plans.domain.differences import PlanDifference
from orchestration.plans.domain.document import normal_form
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.selectors import PlanGrant
from orchestration.plans.services import comparing, rights, saving
from orchestration.runs.api.plans import SavedPlanIn
from orchestration.runs.api.shapes import Proposed
from orchestration.runs.control import proposals
from orchestration.runs.models import Run

router = Router(tags=["plans"])
PlanName = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,100}$")]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]


class StartIn(Schema, extra="forbid"):
    """The inputs of a run, and the revision to start; the newest by default."""

    inputs: dict[str, Any] | None = None
    revision: Number | None = None


class GrantIn(Schema, extra="forbid"):
    """A right on a plan, and the user or the group that has it."""

    right: PlanRight
    user: str = ""
    group: str = ""


class PlanQuery(Schema):
    """A search for plans, and the cursor of the next page."""

    q: Annotated[str, Field(max_length=200)] = ""
    after: Annotated[str, Field(max_length=100)] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class PlanRow(Schema):
    """A saved plan in a list."""

    id: str
    name: str
    owner: str
    owner_name: str
    revision: int
    """The number of its newest revision."""
    changed_at: datetime
    url: str


class PlanList(Schema):
    """Saved plans by id, and the cursor of the next page."""

    items: list[PlanRow]
    next: str | None


class RevisionRow(Schema):
    """A revision of a plan."""

    revision: int = Field(alias="number")
    name: str
    digest: str
    author: str
    author_name: str
    created_at: datetime


class GrantRow(Schema):
    """A right on a plan that a user or a group has been given."""

    right: PlanRight
    kind: Literal["user", "group"]
    name: str


class SavedPlanOut(PlanRow):
    """A revision of a saved plan, with all revisions and the rights given on it."""

    description: str
    digest: str
    source: str
    """The text exactly as its author wrote it."""
    plan: dict[str, Any]
    """The normal form of the revision."""
    inputs: dict[str, Any] | None
    """The JSON Schema of the inputs of a run."""
    outputs: dict[str, Any]
    """The declared outputs of a run, with references."""
    used_by: list[str]
    """The ids of the visible plans that run this one in a step."""
    revisions: list[RevisionRow]
    rights: list[GrantRow]


class SavedOut(Schema):
    """The saved revision."""

    id: str = Field(alias="plan.slug")
    revision: int = Field(alias="number")
    digest: str
    url: str

    @staticmethod
    def resolve_url(revision: PlanRevision, context: dict[str, Any]) -> str:
        return page(context["request"], "plan", revision.plan.slug, argument="slug")


class ChangedField(Schema):
    """A value that differs between two revisions."""

    field: str
    before: Any
    after: Any


class ChangedStep(Schema):
    """What differs in one step."""

    step: str
    change: str
    fields: list[ChangedField]
    risk: ChangedField | None
    approval: ChangedField | None = Field(alias="gate")


class DifferenceOut(Schema):
    """What differs between two revisions of a plan."""

    plan: list[ChangedField]
    steps: list[ChangedStep]


@router.get("/plans", response=PlanList)
def list_plans(request: ApiRequest, query: Query[PlanQuery]) -> dict[str, Any]:
    """List the saved plans that the holder of the token may see, by id."""
    plans = selectors.search(selectors.visible_to(request.auth), query.q)
    if query.after:
        plans = plans.filter(slug__gt=query.after)
    rows = list(plans[: query.limit])
    owners = selectors.owner_names(rows)
    items = [_row(request, row, owners[row.pk]) for row in rows]
    return {"items": items, "next": rows[-1].slug if len(rows) == query.limit else None}


@router.post("/plans", response={201: SavedOut})
def save_plan(request: ApiRequest, body: SavedPlanIn) -> Status[PlanRevision]:
    """Save a plan without a run; unchanged content is not saved again."""
    saved = saving.save_plan(text=body.text(), by=request.auth, at=clock.now())
    return Status(201, saved)


@router.get("/plans/{slug:plan_id}", response=SavedPlanOut)
def get_plan(
    request: ApiRequest, plan_id: PlanName, revision: Number | None = None
) -> dict[str, Any]:
    """Return a saved plan with its newest revision, or with another one."""
    plan = selectors.get(request.auth, plan_id)
    row = selectors.revision(plan, revision)
    document = selectors.document(row)
    newest = selectors.with_newest(Plan.objects.filter(pk=plan.pk)).get()
    owner = selectors.owner_names([plan])[plan.pk]
    return _row(request, newest, owner) | {
        "name": document.name,
        "revision": row.number,
        "description": document.description,
        "digest": row.digest,
        "source": row.source,
        "plan": normal_form(document),
        "inputs": document.inputs_schema,
        "outputs": document.outputs,
        "used_by": [use.plan.slug for use in selectors.containing(request.auth, plan)],
        "revisions": selectors.saved_of(plan)
        .defer("body", "source")
        .order_by("-number"),
        "rights": selectors.grants(plan),
    }


@router.post("/plans/{slug:plan_id}/runs", response={201: Proposed})
def start_plan(
    request: ApiRequest,
    plan_id: PlanName,
    body: StartIn,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key")] = "",
    traceparent: Annotated[str, Header()] = "",
) -> Status[Run]:
    """Propose a run of a saved plan.

    The same `Idempotency-Key` with the same body returns the same run.
    """
    run = proposals.start(
        slug=plan_id,
        inputs=body.inputs or {},
        number=body.revision,
        by=request.auth,
        at=clock.now(),
        idempotency_key=idempotency_key,
        traceparent=traceparent,
    )
    return Status(201, run)


@router.get(
    "/plans/{slug:plan_id}/diff/{int:before}/{int:after}", response=DifferenceOut
)
def diff_plan(
    request: ApiRequest, plan_id: PlanName, before: int, after: int
) -> PlanDifference:
    """Return what differs between two revisions of a plan, by step."""
    plan = selectors.get(request.auth, plan_id)
    old, new = (selectors.revision(plan, number) for number in (before, after))
    return comparing.compare(old, new, by=request.auth)


@router.post("/plans/{slug:plan_id}:grant", response=list[GrantRow], auth=PeopleOnly())
def grant_right(
    request: ApiRequest, plan_id: PlanName, body: GrantIn
) -> list[PlanGrant]:
    """Give a right on a plan to a user or to a group; return all that are given."""
    plan = rights.grant(
        slug=plan_id, **body.model_dump(), by=request.auth, at=clock.now()
    )
    return selectors.grants(plan)


@router.post("/plans/{slug:plan_id}:revoke", response=list[GrantRow], auth=PeopleOnly())
def revoke_right(
    request: ApiRequest, plan_id: PlanName, body: GrantIn
) -> list[PlanGrant]:
    """Take back a right on a plan; return those that are left."""
    plan = rights.revoke(
        slug=plan_id, **body.model_dump(), by=request.auth, at=clock.now()
    )
    return selectors.grants(plan)


def _row(request: ApiRequest, plan: Any, owner: tuple[str, str]) -> dict[str, Any]:
    """Return a plan from `with_newest` with key and name of its owner."""
    return {
        "id": plan.slug,
        "name": plan.newest_name,
        "owner": owner[0],
        "owner_name": owner[1],
        "revision": plan.revision_count,
        "changed_at": plan.changed_at,
        "url": page(request, "plan", plan.slug, argument="slug"),
    }
