"""Add the steps of a sub-plan to a run, and collect its outputs.

What runs was fixed and approved with the plan of the run: its pins name the revision of
each sub-plan. The inputs are resolved once, in the transaction that releases the plan
step, and stored as its spec, so that every step inside reads the same ones.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from execfabric.lib.ids import root_span
from execfabric.lib.refusal import Refusal
from execfabric.lib.schema import linear_validator
from orchestration.plans.domain import inputs as plan_inputs
from orchestration.plans.domain import references, schemas
from orchestration.plans.domain.context import closed_schema
from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.domain.inputs import defaults_of
from orchestration.plans.domain.subplans import joined, order_of
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import StepEvent, StepState
from orchestration.runs.engine import ends, scopes, specs
from orchestration.runs.engine.containers import columns_of, require_room
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ParamsInvalid
from orchestration.runs.models import StepRun


def expand(change: RunChange, step: StepRun, columns: Mapping[str, Any]) -> None:
    """Add the steps of the sub-plan that a released step runs.

    :raises ReferenceUnresolved: when a reference in its inputs has no value
    :raises ParamsInvalid: when the inputs do not match the sub-plan
    :raises StepsTooMany: when the run would have too many step runs
    :raises SpecsTooLarge: when what starts with it is too large in total
    :raises ContentChanged: when stored results do not match their recorded digests
    :raises ContractUnreadable: when a newer release wrote a skill version in it
    """
    pin, document = change.pin_of(step) or {}, change.loaded.inside(step)
    inputs = _inputs(change, step, document)
    members = [*_members(change, step, document)]
    require_room(step, len(change.steps) + len(members))
    spec = specs.of_subplan(change, step, inputs)
    specs.require_space(change, spec.body)
    change.store_spec(spec.digest, spec.body)
    change.subplan_inputs[spec.digest] = inputs
    change.loaded.subplan_inputs[spec.digest] = inputs
    bound = {"plan": pin["plan"], "revision": pin["revision"], "digest": spec.digest}
    around = change.loaded.around(step)
    parent = change.loaded.session_of(around) if around else ""
    change.expand(
        step,
        members,
        {
            **bound,
            "count": len(members),
            "parent_session": parent or root_span(change.run.trace_id),
            **columns,
        },
        spec_id=spec.digest,
        started_at=step.started_at or change.at,
        **columns,
    )


def _inputs(change: RunChange, step: StepRun, document: PlanDocument) -> dict[str, Any]:
    """Return the inputs of a sub-plan, with its defaults."""
    planned = change.plan_step(step)
    scope = scopes.scope_of(change, step, planned)
    schema = closed_schema(document)
    inputs: dict[str, Any] = defaults_of(schema)
    inputs |= references.resolve(planned.inputs, scope)
    problems = [*plan_inputs.too_large(schema, inputs)]
    if not problems:
        errors, unusable = schemas.errors(linear_validator(schema), inputs)
        problems = [unusable] if unusable else [*map(_sentence, errors)]
    if problems:
        raise ParamsInvalid(
            f"Cannot start plan {document.id}: {'; '.join(problems)}. Change the inputs"
            " of the step, or the step that returns the value.",
            problems=problems,
        )
    return inputs


def _sentence(error: Any) -> str:
    """Name the input and what is expected, never the value."""
    where = ".".join(map(str, error.absolute_path))
    return f"input {where or 'values'} must satisfy {error.validator}"


def _members(
    change: RunChange, step: StepRun, document: PlanDocument
) -> Iterator[StepRun]:
    first = len(change.steps)
    for index, key in enumerate(order_of(document)):
        planned = document.by_id[key]
        pin = change.run.pins.get(joined(change.loaded.path(step), key), {})
        pinned = change.loaded.pinned.get(pin.get("version_id", ""))
        contract = pinned.contract if pinned else None
        action = contract.action(planned.action) if contract else None
        yield StepRun(
            run=change.run,
            key=key,
            parent=step,
            position=first + index,
            **columns_of(planned, action),
        )


def close(change: RunChange, step: StepRun, event: StepEvent) -> None:
    """End a plan step whose steps have finished, with the declared outputs."""
    if event is StepEvent.FAILED:
        reason = _reason(change, step)
        ends.fail(change, step, "step.subplan_failed", reason, ran=True)
    elif event is StepEvent.SUCCEEDED:
        try:
            ends.succeed(change, step, _output(change, step))
        except Refusal as error:
            ends.fail(change, step, error.code, error.message, ran=True)
    else:
        change.move_step(step, event)


def _reason(change: RunChange, step: StepRun) -> str:
    members = [each for each in change.steps.values() if each.parent_id == step.id]
    failed = [each.key for each in members if each.state == StepState.FAILED]
    if not failed:
        return "Steps of the sub-plan were skipped because of a failure."
    noun = "Step" if len(failed) == 1 else "Steps"
    return f"{noun} of the sub-plan failed: {ends.listed(failed)}."


def _output(change: RunChange, step: StepRun) -> dict[str, Any]:
    outputs = change.loaded.inside(step).outputs
    scope = scopes.inside(change, step, outputs)
    output: dict[str, Any] = references.resolve(outputs, scope)
    return output


def run_output_digest(change: RunChange) -> str:
    """Return the digest of the output of a run whose steps have succeeded.

    Without declared outputs it is empty. The output itself is not stored: it follows
    from the inputs of the run and the outputs of its steps.

    :raises ReferenceUnresolved: when a reference in the outputs has no value
    """
    outputs = change.loaded.document.outputs
    if not outputs:
        return ""
    scope = scopes.inside(change, None, outputs)
    return result_digest(references.resolve(outputs, scope), {})
