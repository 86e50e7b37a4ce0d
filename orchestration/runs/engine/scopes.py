"""Collect what the references of a step resolve to: inputs, the run, earlier outputs.

Each output is compared with the digest that its worker recorded.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from execfabric.lib import canonical
from orchestration.plans.domain import references
from orchestration.plans.domain.document import StepDocument
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import StepState
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ContentChanged
from orchestration.runs.models import ExecSpec, StepRun


def scope_of(
    change: RunChange, step: StepRun, planned: StepDocument
) -> references.Scope:
    """Return what the references of a step resolve to."""
    refs = [*references.find(planned.params)]
    if planned.approval is not None:
        refs += references.find(planned.approval.reason)
    heads = {ref.step for ref in refs if ref.step}
    first = ""
    if references.FIRST in heads and change.loaded.named(references.FIRST) is None:
        first = _first_success(change, planned)
        heads.add(first)
    sources = [source for key in sorted(heads) if (source := change.loaded.named(key))]
    absent = {
        source.key: str(source.state)
        for source in sources
        if source.state != StepState.SUCCEEDED
    }
    if any(ref.optional for ref in refs):
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


def _first_success(change: RunChange, planned: StepDocument) -> str:
    """Return the parent that succeeded first, or ""."""
    parents = map(change.loaded.named, planned.depends_on)
    # A parent that completes in this change has no place yet: it is the last.
    succeeded = [
        (
            parent.completed_seq is None,
            parent.completed_seq,
            parent.position,
            parent.key,
        )
        for parent in parents
        if parent is not None and parent.state == StepState.SUCCEEDED
    ]
    return min(succeeded)[-1] if succeeded else ""


def _absent_at_release(step: StepRun) -> dict[str, str]:
    """Return the parents that had no output when the step was released.

    A parent that finishes later must not change what was approved.
    """
    if step.spec_id is None or step.state == StepState.PENDING:
        return {}
    body = ExecSpec.objects.values_list("body", flat=True).get(pk=step.spec_id)
    absent: dict[str, str] = canonical.loads(bytes(body)).get("absent", {})
    return absent


def _results(
    change: RunChange, sources: Sequence[StepRun]
) -> dict[UUID, tuple[Any, Any]]:
    """Return output and files of steps, reading those that this change has not loaded.

    :raises ContentChanged: when they do not match the recorded digest
    """
    results = change.results
    missing = []
    for source in sources:
        if "output" in source.__dict__:
            results[source.id] = source.output, source.files
        elif source.id not in results:
            missing.append(source.id)
    if missing:
        rows = StepRun.objects.filter(pk__in=missing)
        for step_run_id, output, files in rows.values_list("id", "output", "files"):
            results[step_run_id] = output, files
    for source in sources:
        _require_unchanged(source, *results[source.id])
    return results


def _require_unchanged(source: StepRun, output: Any, files: Any) -> None:
    if not source.output_digest:
        return
    digest = result_digest(output, files)
    if digest != source.output_digest:
        raise ContentChanged(
            f"Cannot start the step: the stored output of step '{source.key}' does not"
            " match its recorded digest. Nothing ran.",
            step=source.key,
            expected=source.output_digest,
            found=digest,
        )
