"""Proposing a run, and reading it, its events and its files."""

import hashlib
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Header, Path, Query, Router, Schema, Status

from audit.api import Cursor, EventList, PageSize, page_of
from execfabric.identity.http import ApiRequest, page
from execfabric.infra.once import once
from execfabric.lib import canonical, clock
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
    """Which runs to list."""

    state: RunState | None = None
    after: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.post("/runs", response={201: Proposed})
def propose(
    request: ApiRequest,
    body: PlanIn,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key")] = "",
) -> Status[Proposed]:
    """Propose a plan: a run that waits for its approval.

    The same `Idempotency-Key` with the same body gives the same run, as far as the
    cache remembers it.
    """

    def make() -> str:
        run = proposals.propose(
            text=body.text(), inputs=body.inputs or {}, by=request.auth, at=clock.now()
        )
        return str(run.pk)

    def exists(run_id: str) -> bool:
        return selectors.visible_to(request.auth).filter(pk=run_id).exists()

    digest = hashlib.sha256(canonical.dumps(body.model_dump())).hexdigest()
    run_id = once(
        by=request.auth, key=idempotency_key, request=digest, make=make, exists=exists
    )
    run = selectors.get(request.auth, UUID(run_id))
    url = page(request, "run", run.pk)
    return Status(201, Proposed(run_id=run.pk, state=run.state, url=url))


@router.get("/runs", response=RunList)
def list_runs(request: ApiRequest, query: Query[RunQuery]) -> dict[str, Any]:
    """The runs that the holder of the token may see, newest first."""
    found = selectors.visible_to(request.auth).order_by("-id")
    if query.state:
        found = found.filter(state=query.state)
    if query.after:
        found = found.filter(id__lt=query.after)
    rows = list(found[: query.limit])
    full = len(rows) == query.limit
    return {"items": rows, "next": rows[-1].pk if full else None}


@router.get("/runs/{uuid:run_id}", response=RunOut)
def get_run(request: ApiRequest, run_id: UUID) -> Run:
    """One run with its steps and open gates."""
    return selectors.get(request.auth, run_id, needs={"inputs"})


@router.get("/runs/{uuid:run_id}/events", response=EventList)
def list_events(
    request: ApiRequest, run_id: UUID, after: Cursor = 0, limit: PageSize = 200
) -> EventList:
    """The events of a run behind a cursor, in order; none is missed or repeated."""
    run = selectors.get(request.auth, run_id)
    return page_of(run.stream, after=after, limit=limit)


@router.get("/artifacts/{sha256}", response={200: bytes}, tags=["artifacts"])
def download(
    request: ApiRequest,
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
) -> FileDownload:
    """The bytes of a file that a visible run yielded or was given."""
    found = selectors.artifact_visible_to(request.auth, sha256)
    body = open_artifact(sha256)
    response = FileDownload(body, name=found.name, sha256=sha256)
    response["ETag"] = f'"{sha256}"'
    return response
