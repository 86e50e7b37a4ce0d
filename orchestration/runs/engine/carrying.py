"""Open the gates of a rerun with the approvals of the run that it repeats.

What is approved must be the same, except for the run itself; then it need not be asked
again. An agent has to ask again, and so has another proposer: who proposes is part of
what was approved. Nor does an approval cover the repetition of an effect that may have
happened.
"""

from typing import Any
from uuid import UUID

from approvals import selectors as approvals
from approvals.models import INPUT, Gate
from approvals.proof import Held
from approvals.services import carrying
from execfabric.lib import canonical
from execfabric.lib.actor import ActorKind
from orchestration.runs.engine import unknown
from orchestration.runs.engine.reuse import counterpart
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun

OF_RUN = ("run", "parent", "generation", "rerun")
"""The keys of approved content that name the run, not what happens in it."""


def open_plan_gate(change: RunChange, gate: Gate) -> None:
    """Open the gate of the plan of a run; one that was voided is asked again."""
    run, source = change.run, None
    if (
        run.rerun_of is not None
        and run.gate_id is None
        and not unknown.paths_of(run.rerun_of)
    ):
        source = run.rerun_of.gate_id
    _open(change, gate, source)


def open_step_gate(change: RunChange, gate: Gate, step: StepRun) -> None:
    """Open the gate of a step; a step that a user retries asks again."""
    source = None
    if change.run.rerun_of_id is not None and step.generation == 1:
        pk = counterpart(change, step)
        before = StepRun.objects.get(pk=pk) if pk else None
        if before is not None and not unknown.may_have_happened(before):
            source = before.gate_id
    _open(change, gate, source)


def _open(change: RunChange, gate: Gate, source: UUID | None) -> None:
    held = _same(change, gate, source) if source else None
    opening = carrying.open_with_approval(gate, held, at=change.at)
    change.facts += opening.facts


def _same(change: RunChange, gate: Gate, source: UUID) -> Held | None:
    """Return an earlier gate on the same content, if this run may use its approval."""
    if (
        gate.subject_kind == INPUT
        or change.run.proposed_by().kind is not ActorKind.USER
    ):
        return None
    held = approvals.held(source)
    if held.gate.subject_kind != gate.subject_kind:
        return None
    return held if _content(held.gate) == _content(gate) else None


def _content(gate: Gate) -> dict[str, Any]:
    """Return the content of a gate without the run; empty if it cannot be read."""
    try:
        content = canonical.loads(bytes(gate.subject))
    except canonical.NotCanonical:
        return {}
    named = content if isinstance(content, dict) else {}
    return {name: value for name, value in named.items() if name not in OF_RUN}
