"""The output of a run: the declared outputs of its plan, resolved when it is read."""

from typing import Any

from orchestration.plans import selectors as plans
from orchestration.plans.domain import references
from orchestration.plans.errors import ReferenceTooLarge, ReferenceUnresolved
from orchestration.runs.domain.states import RunState, StepState
from orchestration.runs.models import Run, StepRun


def of_run(run: Run) -> dict[str, Any] | None:
    """Return the output of a run that succeeded; None if it has none.

    It is not stored, because it follows from the inputs of the run and the outputs of its
    steps, which the audit log covers. The last event of the run has its digest.
    """
    if run.state != RunState.SUCCEEDED:
        return None
    declared = plans.document(run.revision).outputs
    if not declared:
        return None
    try:
        resolved: dict[str, Any] = references.resolve(declared, _scope(run, declared))
    except (ReferenceUnresolved, ReferenceTooLarge):
        return None
    return resolved


def _scope(run: Run, declared: Any) -> references.Scope:
    heads = {each.step for each in references.find(declared) if each.step}
    rows = StepRun.objects.filter(run=run, parent=None, key__in=heads)
    ended = {row.key: row for row in rows}
    done = {k: row for k, row in ended.items() if row.state == StepState.SUCCEEDED}
    return references.Scope(
        inputs=run.inputs,
        run={"id": str(run.id)},
        outputs={key: row.output for key, row in done.items()},
        files={key: row.files for key, row in done.items()},
        absent={k: str(row.state) for k, row in ended.items() if k not in done},
    )
