"""Add a step run for each item of a list, and collect what they return.

The list is resolved once, in the transaction that releases the step. Each item stores its
value with a digest, so that no item reads the whole list again.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from execfabric.infra import database
from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import references
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.iteration import MAX_ITEMS, output_of
from orchestration.plans.domain.joins import AtLeast
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.states import StepEvent, StepState
from orchestration.runs.engine import ends, scopes
from orchestration.runs.engine.containers import require_room
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ItemsInvalid, ItemsTooMany, OutputTooLarge
from orchestration.runs.models import StepRun

MAX_OUTPUT = 8 << 20
"""Bytes of all outputs of the items of one step."""

_SIZE = (
    "SELECT coalesce(sum(octet_length(output::text)), 0) FROM runs_steprun"
    " WHERE run_id = %s AND key = %s AND parent_id = %s AND state = 'succeeded'"
)


def expand(change: RunChange, step: StepRun, columns: Mapping[str, Any]) -> None:
    """Add the items of a released step to the run.

    :raises ItemsInvalid: when the value is not a list, or too short for the join
    :raises ItemsTooMany: when the list has too many items
    :raises StepsTooMany: when the run would have too many step runs
    :raises ReferenceUnresolved: when a reference in the list has no value
    """
    planned = change.plan_step(step)
    values = _items(change, step, planned)
    require_room(step, len(change.steps) + len(values))
    change.expand(
        step,
        [*_members(change, step, planned, values)],
        {"count": len(values), **columns},
        started_at=step.started_at or change.at,
        **columns,
    )


def _items(change: RunChange, step: StepRun, planned: StepDocument) -> list[Any]:
    scope = scopes.of_value(change, step, planned.for_each)
    values = references.resolve(planned.for_each, scope)
    if not isinstance(values, list):
        raise ItemsInvalid(
            f"Cannot expand step '{step.key}': forEach must be a list, not"
            f" {_kind(values)}. Change forEach, or the step that returns the value.",
            type=_kind(values),
        )
    if len(values) > MAX_ITEMS:
        raise ItemsTooMany(
            f"Cannot expand step '{step.key}': the list has {len(values):,} items"
            f" (max {MAX_ITEMS:,}). Shorten the list, or divide it among steps.",
            count=len(values),
            limit=MAX_ITEMS,
        )
    needed = planned.join.at_least if isinstance(planned.join, AtLeast) else 0
    if needed > len(values):
        raise ItemsInvalid(
            f"Cannot expand step '{step.key}': {needed} items must succeed, but the"
            f" list has {len(values)}.",
            count=len(values),
        )
    return values


def _kind(value: Any) -> str:
    names = {dict: "an object", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _members(
    change: RunChange, step: StepRun, planned: StepDocument, values: list[Any]
) -> Iterator[StepRun]:
    first = len(change.steps)
    for index, value in enumerate(values):
        yield StepRun(
            run=change.run,
            key=step.key,
            item=index,
            parent=step,
            item_value={"value": value, "digest": scopes.item_digest(value)},
            position=first + index,
            kind=planned.kind,
            effect_class=step.effect_class,
            max_attempts=step.max_attempts,
        )


def close(change: RunChange, step: StepRun, event: StepEvent) -> None:
    """End a step whose items have finished, with their outputs."""
    members = [each for each in change.steps.values() if each.parent_id == step.id]
    failed = [each.item for each in members if _has_failed(each)]
    fact = {"count": len(members), "failed": failed}
    if event is StepEvent.SUCCEEDED:
        try:
            ends.succeed(change, step, _collected(change, step, members, failed), fact)
        except Refusal as error:
            end = error.code, error.message
            ends.fail(change, step, *end, {"failed": failed}, ran=True)
    elif event is StepEvent.FAILED:
        end = "step.items_failed", _reason(members, failed)
        ends.fail(change, step, *end, {"failed": failed}, ran=True)
    else:
        change.move_step(step, event, fact)


def _has_failed(item: StepRun) -> bool:
    """Return True for a failed item, also if a user has skipped it since."""
    is_skipped = (item.error or {}).get("code") == SKIPPED_BY_USER
    return item.state == StepState.FAILED or is_skipped


def _reason(members: list[StepRun], failed: list[Any]) -> str:
    succeeded = sum(each.state == StepState.SUCCEEDED for each in members)
    if not failed:
        return f"Only {succeeded} of {len(members)} items succeeded."
    return f"{len(failed)} of {len(members)} items failed: {ends.listed(failed)}."


def _collected(
    change: RunChange, step: StepRun, members: list[StepRun], failed: list[Any]
) -> dict[str, Any]:
    """Return the output of the step: those of its items, in their order.

    :raises OutputTooLarge: when they are too large in total
    :raises ContentChanged: when they do not match their recorded digests
    """
    [[size]] = database.rows(_SIZE, [change.run.id, step.key, step.id])
    if size > MAX_OUTPUT:
        raise OutputTooLarge(
            f"The outputs of all items are too large: {size:,} bytes"
            f" (max {MAX_OUTPUT:,}). Write large results to files.",
            size=size,
            limit=MAX_OUTPUT,
        )
    done = [each for each in members if each.state == StepState.SUCCEEDED]
    results = scopes.results_of(change, done)
    # The output of a step is an object, never null.
    outputs = [
        results[each.id][0] if each.state == StepState.SUCCEEDED else None
        for each in members
    ]
    return output_of(outputs, failed)
