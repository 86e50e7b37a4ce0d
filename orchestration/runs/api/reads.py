"""API to propose runs, and to read runs, events and files."""

from typing import Annotated, Any
from uuid import UUID

from django.db.models import Q
from ninja import Field, Header, Path, Query, Router, Status

from audit.api import Cursor, EventList, PageSize, page_of
from execfabric.identity import paging
from execfabric.identity.http import ApiRequest
from execfabric.identity.paging import PageQuery
from execfabric.lib import clock
from execfabric.web.problems import FileDownload
from orchestration.runs import selectors
from orchestration.runs.api.plans import PlanIn
from orchestration.runs.api.shapes import Proposed, RunList, RunOut
from orchestration.runs.control import proposals
from orchestration.runs.domain.run_status import WaitKind
from orchestration.runs.domain.states import RunState
from orchestration.runs.engine.artifacts import open_artifact
from orchestration.runs.models import Run
from orchestration.runs.pages import statuses
from orchestration.runs.pages.run_list import waiting_for

router = Router(tags=["runs"])
TEMPLATE = "^([A-Za-z0-9_-]{1,100}(@[0-9]{1,10})?)?$"


class ProposalIn(PlanIn):
    """A plan and its inputs, and the saved plan that was edited for it."""

    template: Annotated[str, Field(pattern=TEMPLATE)] = ""
    """Such as `assemble-service@3`; without a revision the newest one."""


class RunQuery(PageQuery):
    """Filters for the list of runs."""

    state: RunState | None = None
    waiting_for: WaitKind | None = None
    """What they wait for now."""
    trace: Annotated[str, Field(pattern="^([0-9a-f]{32})?$")] = ""
    """A trace id: of the run, or of the system that proposed it."""


@router.post("/runs", response={201: Proposed})
def propose(
    request: ApiRequest,
    body: ProposalIn,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key")] = "",
    traceparent: Annotated[str, Header()] = "",
) -> Status[Run]:
    """Propose a plan: a run that waits for its approval.

    The same `Idempotency-Key` with the same body returns the same run.
    """
    run = proposals.propose(
        text=body.text(),
        inputs=body.inputs or {},
        by=request.auth,
        at=clock.now(),
        idempotency_key=idempotency_key,
        template=body.template,
        traceparent=traceparent,
    )
    return Status(201, run)


@router.get("/runs", response=RunList)
def list_runs(request: ApiRequest, query: Query[RunQuery]) -> dict[str, Any]:
    """List the runs that the holder of the token may see, newest first."""
    runs = selectors.visible_to(request.auth)
    if query.state:
        runs = runs.filter(state=query.state)
    if query.trace:
        runs = runs.filter(Q(trace_id=query.trace) | Q(parent_trace_id=query.trace))
    if query.waiting_for:
        runs = runs.filter(waiting_for(query.waiting_for))
    listed = paging.page_of(runs, query, newest_first=True)
    statuses.attach(listed["items"], at=clock.now())
    return listed


@router.get("/runs/{uuid:run_id}", response=RunOut)
def get_run(request: ApiRequest, run_id: UUID) -> Run:
    """Return one run with its steps and open gates."""
    return selectors.get(request.auth, run_id, needs={"inputs"})


@router.get("/runs/{uuid:run_id}/events", response=EventList)
def list_events(
    request: ApiRequest, run_id: UUID, after: Cursor = 0, limit: PageSize = 200
) -> EventList:
    """List the events of a run after a cursor, in order."""
    run = selectors.get(request.auth, run_id)
    return page_of(run.stream, after=after, limit=limit)


@router.get("/artifacts/{sha256}", response={200: bytes}, tags=["artifacts"])
def download(
    request: ApiRequest,
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
) -> FileDownload:
    """Return the content of a file that a visible run returned or received."""
    artifact = selectors.artifact_visible_to(request.auth, sha256)
    body = open_artifact(sha256)
    response = FileDownload(body, name=artifact.name, sha256=sha256)
    response["ETag"] = f'"{sha256}"'
    return response
