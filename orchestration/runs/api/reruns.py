"""API to run a finished run again, and to compare it with the rerun."""

from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Header, Router, Schema, Status

from execfabric.identity.http import ApiRequest
from execfabric.lib import clock
from orchestration.runs.api.shapes import Proposed
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from orchestration.runs.models.sources import MAX_PATH
from orchestration.runs.pages import comparison
from orchestration.runs.pages.comparison import RunComparison

router = Router(tags=["runs"])


class ChangeOut(Schema):
    """A value that differs; null on the side where there is none."""

    field: str
    before: Any
    after: Any


class SideOut(Schema):
    """A step of one of two compared runs."""

    step_run_id: UUID = Field(alias="row.pk")
    state: str
    reused_from: UUID | None = Field(alias="row.reused_from_id")
    """The step run whose result it has; null if it ran itself."""
    took_s: float | None
    """Seconds from its start to its end, with waits."""


class StepComparisonOut(Schema):
    """A step that one or both of the runs have, and what differs."""

    step: str = Field(alias="title")
    before: SideOut | None
    after: SideOut | None
    changes: list[ChangeOut]


class ComparisonOut(Schema):
    """What differs between two runs; steps that differ come first."""

    before: UUID = Field(alias="before.pk")
    after: UUID = Field(alias="after.pk")
    inputs: list[ChangeOut]
    steps: list[StepComparisonOut]
    is_cut: bool
    """True if so many steps differ that of some only the digests are compared."""


class RerunIn(Schema, extra="forbid"):
    """The first step that runs in any case, and the inputs that differ."""

    from_step: Annotated[str, Field(alias="from", max_length=MAX_PATH)] = ""
    """The path of a step, such as `deploy` or `auth/create`; by default all steps run."""
    inputs: dict[str, Any] | None = None
    """All inputs; by default those of the run."""
    changes: dict[str, Any] = {}
    """Inputs that replace those of the same name; the others stay."""


@router.post("/runs/{uuid:run_id}:rerun", response={201: Proposed})
def rerun(
    request: ApiRequest,
    run_id: UUID,
    body: RerunIn | None = None,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key")] = "",
    traceparent: Annotated[str, Header()] = "",
) -> Status[Run]:
    """Propose a finished run again, from a step on and with its inputs or others.

    Other steps reuse a result if it would be the same. The same `Idempotency-Key` with
    the same body returns the same run.
    """
    made = proposals.rerun(
        run_id=run_id,
        by=request.auth,
        at=clock.now(),
        **(body or RerunIn()).model_dump(),
        idempotency_key=idempotency_key,
        traceparent=traceparent,
    )
    return Status(201, made)


@router.get("/runs/{uuid:run_id}/compare/{uuid:other_id}", response=ComparisonOut)
def compare(request: ApiRequest, run_id: UUID, other_id: UUID) -> RunComparison:
    """Compare two visible runs, such as a run with its rerun."""
    return comparison.compare(request.auth, run_id, other_id)
