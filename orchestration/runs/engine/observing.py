"""Read a run without a lock, to show what could be done, and what would follow."""

from audit.services import End
from orchestration.plans.domain.conditions import cel_id
from orchestration.plans.domain.reads import steps_read_by
from orchestration.runs.domain import consequences
from orchestration.runs.domain.consequences import Consequences
from orchestration.runs.engine.loading import LoadedRun
from orchestration.runs.models import Run, StepRun

_RESULT = ("output", "files", "item_value")


def observed(run: Run) -> LoadedRun:
    """Return a run as it is stored now; nothing can be written from it."""
    rows = StepRun.objects.filter(run=run).defer(*_RESULT).order_by("position")
    return LoadedRun(
        run=run,
        steps={row.id: row for row in rows},
        end=End(0, b""),
        outside=None,
        approval=None,
        proposer_active=False,
        any_policy=False,
        pinned={},
    )


def consequences_of_skip(run: Run, step: StepRun) -> Consequences:
    """Return what follows for later steps if a user skips a failed step."""
    loaded = observed(run)
    around, names = loaded.around(step), {step.key, cel_id(step.key)}
    keys = {
        key
        for key, planned in loaded.plan_of(step).by_key.items()
        if names & steps_read_by(planned)
    }
    readers = {
        each.id
        for each in loaded.steps.values()
        if each.key in keys and _is_in(loaded, each, around)
    }
    return consequences.of_skip(loaded.progress, step.id, readers=readers)


def _is_in(loaded: LoadedRun, step: StepRun, around: StepRun | None) -> bool:
    own = loaded.around(step)
    return (own.id if own else None) == (around.id if around else None)
