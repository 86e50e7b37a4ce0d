"""API of what a user can do about a failed step: see it, foresee it, do it."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Router, Schema

from execfabric.identity.http import ApiRequest, PeopleOnly
from execfabric.lib import clock
from orchestration.runs import selectors
from orchestration.runs.api.acts import Text
from orchestration.runs.api.shapes import RunOut
from orchestration.runs.control import edits, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.models import Run, StepRun
from orchestration.runs.pages import step_acts
from orchestration.runs.pages.step_acts import Offers

router = Router(tags=["failures"])
People = PeopleOnly()


class ActOut(Schema):
    """What a user can do about a step."""

    action: str = Field(alias="act")
    possible: bool
    why_not: str
    """Why it is not possible now; empty if it is."""

    @staticmethod
    def resolve_possible(offer: step_acts.Offer) -> bool:
        return not offer.why_not


class SkipOut(Schema):
    """What follows a skip, if the steps that run succeed and conditions hold."""

    runs: list[str]
    skipped: list[str]
    without: list[str]
    """Steps that run without a value of the skipped one."""
    fails: list[str]
    """Lists and sub-plans that fail although the step is skipped."""


class ActionsOut(Schema):
    """What the holder of the token can do about a step."""

    step_run_id: UUID = Field(alias="row.pk")
    state: str = Field(alias="row.state")
    generation: int = Field(alias="row.generation")
    """Send it with an act, so that the act is about this failure and no later one."""
    actions: list[ActOut] = Field(alias="acts")
    skip: SkipOut | None
    """What a skip leads to; null if it is not possible."""


class ActIn(Schema, extra="forbid"):
    """Why a user acts on a failed step."""

    reason: Text
    generation: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """The generation that the user has seen; another one is refused."""


class RetryIn(ActIn):
    """How a user retries a failed step."""

    params: dict[str, Any] | None = None
    """Parameters to change, as the plan writes them; others stay. Null for none."""


class CompletionIn(ActIn):
    """The output of a step that a user has completed by hand."""

    evidence: Text
    output: dict[str, Any] | None = None
    """Must match the output schema of the action."""


@router.get("/steps/{uuid:step_run_id}/actions", response=ActionsOut)
def list_actions(request: ApiRequest, step_run_id: UUID) -> Offers:
    """Return what can be done about a step, why not, and what a skip leads to."""
    return step_acts.by_id(request.auth, step_run_id)


@router.post("/steps/{uuid:step_run_id}:retry", response=RunOut, auth=People)
def retry(request: ApiRequest, step_run_id: UUID, body: RetryIn) -> Run:
    """Retry a failed step; the run continues if no other failure is left.

    With other `params` the run waits until another user has approved them.
    """
    params = body.params
    if params is None:
        return _done(request, step_run_id, body, step_actions.retry)
    return _done(request, step_run_id, body, lambda asked: edits.edit(asked, params))


@router.post("/steps/{uuid:step_run_id}:skip", response=RunOut, auth=People)
def skip(request: ApiRequest, step_run_id: UUID, body: ActIn) -> Run:
    """Skip a failed step; its run can no longer end as succeeded."""
    return _done(request, step_run_id, body, step_actions.skip)


@router.post("/steps/{uuid:step_run_id}:fallback", response=RunOut, auth=People)
def fallback(request: ApiRequest, step_run_id: UUID, body: ActIn) -> Run:
    """Run the fallback of a failed step, if it did not run by itself."""
    return _done(request, step_run_id, body, step_actions.fall_back)


@router.post("/steps/{uuid:step_run_id}:complete", response=RunOut, auth=People)
def complete(request: ApiRequest, step_run_id: UUID, body: CompletionIn) -> Run:
    """Complete a failed step by hand.

    The run's proposer, the plan's author and the owner of a proposing agent are refused.
    The step has no files.
    """

    def act(asked: Request) -> StepRun:
        return step_actions.complete(asked, evidence=body.evidence, output=body.output)

    return _done(request, step_run_id, body, act)


def _done(
    request: ApiRequest,
    step_run_id: UUID,
    body: ActIn,
    act: Callable[[Request], StepRun],
) -> Run:
    asked = Request(
        step_run_id=step_run_id,
        reason=body.reason,
        by=request.auth,
        at=clock.now(),
        generation=body.generation,
    )
    return selectors.get(request.auth, act(asked).run_id, needs={"inputs"})
