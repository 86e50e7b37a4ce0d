"""API to propose runs, and to read runs, events and files."""

from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Header, Path, Query, Router, Schema, Status

from audit.api import Cursor, EventList, PageSize, page_of
from execfabric.identity.http import ApiRequest
from execfabric.lib import clock
from execfabric.web.problems import FileDownload
from orchestration.runs import selectors
from orchestration.runs.api.plans import PlanIn
from orchestration.runs.api.shapes import Proposed, RunList, RunOut
from orchestration.runs.control import proposals
from orchestration.runs.domain.states import RunState
from orchestration.runs.engine.artifacts import open_artifact
from orchestration.runs.models import Run

router = Router(tags=["runs"])


class RunQuery(Schema):
    """Filters for the list of runs."""

    state: RunState | None = None
    after: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.post("/runs", response={201: Proposed})
def propose(
    request: ApiRequest,
    body: PlanIn,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key")] = "",
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
    )
    return Status(201, run)


@router.get("/runs", response=RunList)
def list_runs(request: ApiRequest, query: Query[RunQuery]) -> dict[str, Any]:
    """List the runs that the holder of the token may see, newest first."""
    runs = selectors.visible_to(request.auth).order_by("-id")
    if query.state:
        runs = runs.filter(state=query.state)
    if query.after:
        runs = runs.filter(id__lt=query.after)
    page = list(runs[: query.limit])
    is_full = len(page) == query.limit
    return {"items": page, "next": page[-1].pk if is_full else None}


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
