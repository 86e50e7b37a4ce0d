"""What the references of a step can see: inputs, the run, and outputs of other steps.

Outputs are compared with the digests that their workers recorded.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from execfabric.lib import canonical
from orchestration.plans.domain import references
from orchestration.plans.domain.document import StepDocument
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import StepState
from orchestration.runs.engine.transitions import Change
from orchestration.runs.errors import ContentChanged
from orchestration.runs.models import ExecSpec, StepRun


def scope_of(change: Change, step: StepRun, planned: StepDocument) -> references.Scope:
    """Return what references can see: inputs, the run, and outputs of other steps."""
    named = [*references.find(planned.params)]
    if planned.approval is not None:
        named += references.find(planned.approval.reason)
    heads = {found.step for found in named if found.step}
    first = ""
    if references.FIRST in heads and change.loaded.named(references.FIRST) is None:
        first = _first_success(change, planned)
        heads.add(first)
    sources = [found for key in sorted(heads) if (found := change.loaded.named(key))]
    absent = {
        source.key: str(source.state)
        for source in sources
        if source.state != StepState.SUCCEEDED
    }
    if any(found.optional for found in named):
        absent |= _absent_at_release(step)
    present = [source for source in sources if source.key not in absent]
    results = _results(change, present)
    return references.Scope(
        inputs=change.run.inputs,
        run={"id": str(change.run.id)},
        outputs={source.key: results[source.id][0] for source in present},
        files={source.key: results[source.id][1] for source in present},
        absent=absent,
        first=first,
    )


def _first_success(change: Change, planned: StepDocument) -> str:
    """Return the parent that succeeded first; empty if none has."""
    named = map(change.loaded.named, planned.depends_on)
    # One that completes in this very change has no place yet: it is the last.
    done = [
        (
            parent.completed_seq is None,
            parent.completed_seq,
            parent.position,
            parent.key,
        )
        for parent in named
        if parent is not None and parent.state == StepState.SUCCEEDED
    ]
    return min(done)[-1] if done else ""


def _absent_at_release(step: StepRun) -> dict[str, str]:
    """Return the parents without output when the step was released.

    One that finishes later must not change what has been shown and approved.
    """
    if step.spec_id is None or step.state == StepState.PENDING:
        return {}
    body = ExecSpec.objects.values_list("body", flat=True).get(pk=step.spec_id)
    absent: dict[str, str] = canonical.loads(bytes(body)).get("absent", {})
    return absent


def _results(change: Change, sources: Sequence[StepRun]) -> dict[UUID, tuple[Any, Any]]:
    """Return output and files of steps, checked; read where this change has not them.

    :raises ContentChanged: when they are not what their worker recorded
    """
    found = change.results
    missing = []
    for source in sources:
        if "output" in source.__dict__:
            found[source.id] = source.output, source.files
        elif source.id not in found:
            missing.append(source.id)
    if missing:
        rows = StepRun.objects.filter(pk__in=missing)
        for step_run_id, output, files in rows.values_list("id", "output", "files"):
            found[step_run_id] = output, files
    for source in sources:
        _require_untouched(source, *found[source.id])
    return found


def _require_untouched(source: StepRun, output: Any, files: Any) -> None:
    if not source.output_digest:
        return
    found = result_digest(output, files)
    if found != source.output_digest:
        raise ContentChanged(
            f"The output of step {source.key} is not what its worker recorded.",
            step=source.key,
            expected=source.output_digest,
            found=found,
        )
