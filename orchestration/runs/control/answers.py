"""Answer steps that ask for values: the decision of a gate, with its values."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals import selectors
from approvals.models import INPUT, Gate
from approvals.services import decisions
from execfabric.identity.authority import require
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from orchestration.plans.domain import inputs
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import StepState
from orchestration.runs.engine import ends
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import AlreadyAnswered, AnswerInvalid, NotAnInput
from orchestration.runs.models import StepRun


def answer(
    *,
    gate_id: UUID,
    by: Actor,
    digest: str,
    values: Mapping[str, Any],
    channel: str,
    at: datetime,
) -> Gate:
    """Store the answer to an input step as its output, and advance the run.

    `digest` is that of the content with the form that the user saw, as hex. The same
    person with the same values changes nothing.

    :raises AgentsCannotDecide: when `by` is not a user
    :raises NotAnInput: when the gate does not ask for values
    :raises AnswerInvalid: when the values do not match the form
    :raises AlreadyAnswered: when the person answered with other values before
    :raises ApprovalRefusal: see `decisions.record_decision`
    """
    if by.kind is not ActorKind.USER:
        require(by, Right.DECIDE)
    run_id, kind = selectors.context_of(by=by, gate_id=gate_id)
    if kind != INPUT:
        raise NotAnInput(gate=str(gate_id))
    try:
        with locked_change(run_id, by=by, at=at) as change:
            recorded = decisions.record_decision(
                gate_id=gate_id,
                by=by,
                approve=True,
                digest=digest,
                comment="",
                channel=channel,
                proposer_active=change.loaded.proposer_active,
                at=at,
            )
            checked = _checked(recorded.gate, values)
            change.facts += recorded.facts
            step = change.step(recorded.gate.subject_id)
            if recorded.settled:
                _complete(change, step, recorded.gate, checked)
            else:
                _require_same(step, checked)
            return recorded.gate
    except Refusal as error:
        decisions.record_refusal(gate_id=gate_id, by=by, error=error, at=at)
        raise


def _complete(
    change: RunChange, step: StepRun, gate: Gate, values: dict[str, Any]
) -> None:
    if step.gate_id == gate.id and step.state == StepState.GATED:
        fact = {"gate": str(gate.id), "answered_by": change.by.as_fact()}
        ends.succeed(change, step, values, fact)
    advance(change)


def _checked(gate: Gate, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the defaults of the form.

    :raises AnswerInvalid: with every problem in `details["problems"]`
    """
    form = canonical.loads(bytes(gate.subject))["form"]
    complete = {**inputs.defaults_of(form), **values}
    if wrong := inputs.wrong(form, complete, noun="value"):
        found = [{"name": name, "message": message} for name, message in wrong]
        first = found[0]["message"]
        raise AnswerInvalid(
            f"{AnswerInvalid.__doc__} {first}", gate=str(gate.pk), problems=found
        )
    return complete


def _require_same(step: StepRun, values: dict[str, Any]) -> None:
    """Check that a repeated answer has the values that are stored.

    :raises AlreadyAnswered: when it has others
    """
    if step.output_digest != result_digest(values, {}):
        raise AlreadyAnswered(step=step.key)
