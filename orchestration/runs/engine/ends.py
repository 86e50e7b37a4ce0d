"""End steps that no attempt ends: with an output, or with the reason of a failure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from approvals.domain.states import GateStatus
from execfabric.lib.clock import elapsed_ms
from orchestration.runs.domain import outcome
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import StepEvent
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun

NAMED = 5
"""Failed steps or items that the reason of a failure names."""


def succeed(
    change: RunChange,
    step: StepRun,
    output: dict[str, Any],
    payload: dict[str, Any] | None = None,
    **columns: Any,
) -> None:
    """Complete a step with its output.

    :raises NotCanonical: when the output cannot be stored
    """
    digest = result_digest(output, {})
    change.move_step(
        step,
        StepEvent.SUCCEEDED,
        {"result": digest, **(payload or {})},
        output=output,
        output_digest=digest,
        error=None,
        **columns,
    )


def gate(
    change: RunChange,
    step: StepRun,
    status: GateStatus,
    *,
    asked_at: datetime | None = None,
) -> None:
    """Move a gated step whose gate has ended; an approval step is finished then.

    `asked_at` is when its gate was opened, if it has one.
    """
    end = outcome.of_step_gate(status, is_approval_step=step.kind == "approval")
    if step.kind == "input" and status is GateStatus.EXPIRED:
        end = outcome.of_unanswered_input()
    columns = end.columns()
    fact: dict[str, Any] = {"gate": str(step.gate_id)}
    if end.event is StepEvent.SUCCEEDED:
        output = {"approved": True}
        columns |= {"output": output, "output_digest": result_digest(output, {})}
    if end.event is StepEvent.FAILED and asked_at is not None:
        fact |= columns | {"elapsed_ms": elapsed_ms(asked_at, change.at)}
    change.move_step(step, end.event, fact, **columns)


def fail(
    change: RunChange,
    step: StepRun,
    code: str,
    message: str,
    payload: dict[str, Any] | None = None,
    *,
    ran: bool | None = False,
    **columns: Any,
) -> None:
    """Fail a step; `ran` is None if it is unknown whether it had an effect."""
    error = {"code": code, "message": message, "ran": ran}
    payload = {"error": error, **(payload or {})}
    change.move_step(step, StepEvent.FAILED, payload, error=error, **columns)


def listed(failed: Sequence[Any]) -> str:
    """Name the first steps or items that have failed."""
    return ", ".join(map(str, failed[:NAMED])) + ", …" * (len(failed) > NAMED)
