"""Evaluate the conditions of a step, once, in the transaction that releases it."""

import time
from functools import partial
from typing import Any

from orchestration.plans.domain import conditions
from orchestration.plans.domain.conditions import FILES, STATE, ConditionFailed, Name
from orchestration.plans.domain.document import StepDocument
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import StepState
from orchestration.runs.engine import scopes
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ConditionsTooSlow, ConditionUndecided
from orchestration.runs.models import StepRun

MAX_SECONDS = 2.0
"""Seconds of CPU after which a transaction, which holds the run's lock, leaves conditions
to the next one.

One condition takes at most some milliseconds, and usually some hundredths of one.
"""
MAX_GIVEN = 256 << 20
"""Bytes of values for all conditions in one transaction if there is no next one.

That is 8,192 conditions which name as much as they may. In bytes, so that every machine
decides the same.
"""
Decided = dict[str, Any]
"""Why a step runs or not, as it is stored and recorded."""


def decided(change: RunChange, step: StepRun) -> Decided | None:
    """Return whether the step runs, and why; None if it has no condition.

    A step that is released again, because its approval was void, keeps its answer.

    :raises ConditionUndecided: when its condition is neither true nor false
    :raises ConditionsTooSlow: when conditions have named too much in this change
    :raises ContentChanged: when stored results do not match their recorded digests
    """
    planned = change.plan_step(step)
    _check_router(change, step)
    if _is_given_too_much(change) and _is_conditional(step, planned):
        raise ConditionsTooSlow(
            f"Cannot start step '{step.label}': the conditions that were decided with it"
            f" name more than {MAX_GIVEN:,} bytes together. This step did not run. Retry"
            " it, or let the conditions of the plan name smaller values.",
            limit=MAX_GIVEN,
        )
    if not planned.when or not _is_decided_here(step, planned):
        return None
    if step.condition is not None and step.condition.get("when") == planned.when:
        return dict(step.condition)
    return {"when": planned.when, "result": _is_true(change, step, planned.when)}


def is_for_later(change: RunChange, step: StepRun) -> bool:
    """Return True if conditions have used their time here, and another change will come.

    A step that is ready or running makes one when it ends. Without one, nothing would
    release the step.
    """
    if change.condition_s <= MAX_SECONDS and not _is_given_too_much(change):
        return False
    at_work = change.loaded.progress.count(StepState.READY, StepState.RUNNING)
    return at_work > 0 and _is_conditional(step, change.plan_step(step))


def _is_given_too_much(change: RunChange) -> bool:
    return change.condition_values.given > MAX_GIVEN


def _is_conditional(step: StepRun, planned: StepDocument) -> bool:
    """Return True if the release of a step evaluates conditions."""
    has_condition = bool(planned.when) and _is_decided_here(step, planned)
    return has_condition or bool(planned.choose)


def _is_decided_here(step: StepRun, planned: StepDocument) -> bool:
    """Return True unless the condition is decided for all items, or for each."""
    if planned.for_each is None:
        return True
    return conditions.names_item(planned.when) is (step.item is not None)


def chosen(change: RunChange, step: StepRun) -> Decided:
    """Return the rule that applies and the steps that it chooses.

    :raises ConditionUndecided: when a condition before it is neither true nor false
    :raises ContentChanged: when stored results do not match their recorded digests
    """
    planned = change.plan_step(step)
    for index, rule in enumerate(planned.choose):
        if rule.is_else:
            return {"rule": index, "then": [*rule.targets]}
        if _is_true(change, step, rule.condition or ""):
            return {"rule": index, "if": rule.condition, "then": [*rule.targets]}
    return {"rule": None, "then": []}


def output_of(choice: Decided) -> dict[str, Any]:
    """Return the output of a choose step."""
    return {"rule": choice.get("rule"), "then": choice.get("then")}


def _is_true(change: RunChange, step: StepRun, source: str) -> bool:
    begun = time.thread_time()
    try:
        read = partial(_value, change, step)
        return conditions.evaluate(source, read, change.condition_values)
    except ConditionFailed as error:
        raise ConditionUndecided(
            f"Cannot evaluate the condition {source!r} of step '{step.label}': {error}"
            " Fix the plan, or what the condition names. This step did not run.",
            condition=source,
        ) from None
    finally:
        change.condition_s += time.thread_time() - begun


def _value(change: RunChange, step: StepRun, name: Name) -> Any:
    """Return the value of a variable; null for the output of a step that has none."""
    if name.parts[0] in conditions.ITEM_NAMES:
        value, index = scopes.item_of(step, change.plan_step(step)).values()
        return index if name.parts[0] == "index" else value
    if name.parts[0] == "inputs":
        return scopes.inputs_of(change, change.loaded.around(step))
    if name.parts[0] == "run":
        return {"id": str(change.run.id)}
    source = _step(change, step, name)
    part = name.parts[2]
    if part == STATE:
        return str(source.state)
    if source.state != StepState.SUCCEEDED:
        return {} if part == FILES else None
    output, files = scopes.results_of(change, [source])[source.id]
    return files if part == FILES else output


def _step(change: RunChange, near: StepRun, name: Name) -> StepRun:
    around = change.loaded.around(near)
    for key in change.loaded.plan_of(near).by_cel_id.get(name.parts[1], ()):
        if source := change.loaded.named(key, around):
            return source
    raise ConditionFailed(f"there is no step {name.parts[1]}.")


def _check_router(change: RunChange, step: StepRun) -> None:
    """Check that the stored choice is what the choose step has returned.

    :raises ContentChanged: when it is not
    """
    router = change.loaded.router_of(step)
    if router is not None:
        found = result_digest(output_of(router.condition or {}), {})
        what = f"the stored choice of step '{router.key}'"
        scopes.check_digest(what, router, expected=router.output_digest, found=found)
