"""API of what only users may do: control runs, decide gates, resolve outcomes."""

from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Router, Schema
from pydantic import StrictBool

from approvals.api import GateOut
from approvals.models import Gate
from execfabric.identity.http import ApiRequest, PeopleOnly, channel
from execfabric.lib import clock
from orchestration.runs import selectors
from orchestration.runs.api.shapes import RunOut
from orchestration.runs.control import answers, control, gates, recovery
from orchestration.runs.models import Run

router = Router(auth=PeopleOnly(), tags=["decisions"])

Text = Annotated[str, Field(max_length=10_000)]


class ReasonIn(Schema, extra="forbid"):
    """The reason for a pause or a cancellation."""

    reason: Text = ""


class RequiredReasonIn(Schema, extra="forbid"):
    """The reason of an abort."""

    reason: Text


class DecisionIn(Schema, extra="forbid"):
    """A decision on a gate, and the digest of the content that it covers."""

    approve: StrictBool
    digest: Annotated[str, Field(max_length=64)]
    comment: Text = ""


class AnswerIn(Schema, extra="forbid"):
    """The values that an input step asks for, and the digest of what was read."""

    digest: Annotated[str, Field(max_length=64)]
    values: dict[str, Any]


class ResolutionIn(Schema, extra="forbid"):
    """An operator's finding about a step whose outcome is unknown."""

    happened: StrictBool | None
    """Null to abandon the step: no one can find out."""
    evidence: Text
    output: dict[str, Any] | None = None
    """The step's output if it happened; must match the action's output schema."""


@router.post("/runs/{uuid:run_id}:pause", response=RunOut)
def pause(request: ApiRequest, run_id: UUID, body: ReasonIn | None = None) -> Run:
    """Request a pause: running steps finish, and no new step starts."""
    reason = body.reason if body else ""
    control.pause(run_id=run_id, by=request.auth, at=clock.now(), reason=reason)
    return selectors.get(request.auth, run_id, needs={"inputs"})


@router.post("/runs/{uuid:run_id}:resume", response=RunOut)
def resume(request: ApiRequest, run_id: UUID) -> Run:
    """Resume a paused run."""
    control.resume(run_id=run_id, by=request.auth, at=clock.now())
    return selectors.get(request.auth, run_id, needs={"inputs"})


@router.post("/runs/{uuid:run_id}:cancel", response=RunOut)
def cancel(request: ApiRequest, run_id: UUID, body: ReasonIn | None = None) -> Run:
    """Request the end of a run: running steps finish, and no other step starts."""
    reason = body.reason if body else ""
    control.cancel(run_id=run_id, by=request.auth, at=clock.now(), reason=reason)
    return selectors.get(request.auth, run_id, needs={"inputs"})


@router.post("/runs/{uuid:run_id}:abort", response=RunOut)
def abort(request: ApiRequest, run_id: UUID, body: RequiredReasonIn) -> Run:
    """End a run as failed: running steps finish, and all others are skipped."""
    control.abort(run_id=run_id, by=request.auth, at=clock.now(), reason=body.reason)
    return selectors.get(request.auth, run_id, needs={"inputs"})


@router.post("/gates/{uuid:gate_id}/decisions", response={201: GateOut})
def decide(request: ApiRequest, gate_id: UUID, body: DecisionIn) -> Gate:
    """Decide a gate; an approval covers exactly the content of the digest."""
    return gates.decide(
        gate_id=gate_id,
        by=request.auth,
        **body.model_dump(),
        channel=channel(request),
        at=clock.now(),
    )


@router.post("/gates/{uuid:gate_id}:answer", response={201: GateOut})
def answer(request: ApiRequest, gate_id: UUID, body: AnswerIn) -> Gate:
    """Answer a gate of kind `input`; the values become the output of its step."""
    return answers.answer(
        gate_id=gate_id,
        by=request.auth,
        **body.model_dump(),
        channel=channel(request),
        at=clock.now(),
    )


@router.post("/steps/{uuid:step_run_id}:resolve", response=RunOut)
def resolve(request: ApiRequest, step_run_id: UUID, body: ResolutionIn) -> Run:
    """Resolve a step whose outcome is unknown.

    The run's proposer, the plan's author and the owner of a proposing agent are refused.
    If it happened, `output` must match the action's output schema. The step then has no
    files. A step that is abandoned has failed, and is never tried again.
    """
    step_run = recovery.resolve(
        step_run_id=step_run_id,
        **body.model_dump(),
        by=request.auth,
        at=clock.now(),
    )
    return selectors.get(request.auth, step_run.run_id, needs={"inputs"})
