"""Find the steps of a finished run whose effect may have happened without a success.

A rerun does not reuse their results, so it would repeat their effects.
"""

from collections.abc import Iterator
from uuid import UUID

from orchestration.plans import selectors as plans
from orchestration.plans.domain.fallbacks import is_fallback
from orchestration.plans.domain.subplans import SEPARATOR
from orchestration.plans.domain.undo import is_undo
from orchestration.runs.domain.outcome import may_rerun
from orchestration.runs.domain.reruns import runs_again
from orchestration.runs.domain.states import WITH_OUTPUT, Phase, StepState
from orchestration.runs.models import Run, StepRun

COLUMNS = "key", "item", "parent", "kind", "state", "effect_class", "error"
Place = tuple[tuple[str, int | None], ...]
"""The keys and items of a step and of those around it, from the outside."""


def may_have_happened(step: StepRun) -> bool:
    """Return True if a rerun could repeat an effect of which no success is known."""
    if step.kind != "skill" or may_rerun(step.effect_class):
        return False
    if step.state in {StepState.INDETERMINATE, StepState.COMPENSATION_FAILED}:
        return True
    if step.state in WITH_OUTPUT:
        return False
    if step.error is not None and step.error.get("ran") is not False:
        return True
    # A later attempt says nothing of an earlier one.
    return step.attempts.filter(phase=Phase.FAILED).exclude(result__ran=False).exists()


def paths_of(run: Run) -> list[str]:
    """Return the paths of these steps in a run, and in the runs that it repeats.

    A later success settles what an earlier run has left open.
    """
    settled: set[Place] = set()
    found: dict[str, None] = {}
    for each in chain(run):
        for place, step in placed(each):
            if step.state == StepState.SUCCEEDED:
                settled.add(place)
            elif place not in settled and may_have_happened(step):
                found[path_of(place)] = None
    return list(found)


def not_chosen(run: Run, first: str, paths: list[str]) -> list[str]:
    """Return those paths whose steps are neither the first one of a rerun nor after it."""
    document = plans.document(run.revision)
    inside = plans.included_documents(run.pins)
    return [path for path in paths if not runs_again(path, first, document, inside)]


def chain(run: Run) -> Iterator[Run]:
    """Return a run and those that it repeats, from the newest to the first one."""
    each: Run | None = run
    while each is not None:
        yield each
        each = each.rerun_of


def placed(run: Run) -> Iterator[tuple[Place, StepRun]]:
    """Return the step runs of a run with their places."""
    rows = run.steps.order_by("position").only("run", *COLUMNS)
    places: dict[UUID | None, Place] = {None: ()}
    for row in rows:
        places[row.pk] = (*places[row.parent_id], (row.key, row.item))
        yield places[row.pk], row


def path_of(place: Place) -> str:
    """Return the path of a step; an item has that of its list, an undo of its step."""
    keys: list[str] = []
    for key, item in place:
        if is_undo(key):
            continue
        if item is not None or is_fallback(key):
            keys.pop()
        keys.append(key)
    return SEPARATOR.join(keys)
