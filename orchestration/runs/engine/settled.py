"""Check that nothing a run has started can still have its effect."""

from datetime import timedelta

from execfabric.infra import database
from execfabric.lib import canonical
from orchestration.runs.domain import outcome
from orchestration.runs.domain.states import Phase, StepState
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import RollbackBlocked
from orchestration.runs.models import Attempt
from orchestration.skills.domain.contract import EffectClass


def require_settled(change: RunChange) -> None:
    """Check that no step may have an effect that is not known yet.

    :raises RollbackBlocked: when one may
    """
    for progress in (change.loaded.progress, change.loaded.undos):
        unknown = progress.first(StepState.INDETERMINATE)
        if unknown is not None:
            raise RollbackBlocked(
                f"Cannot roll back: the outcome of step '{unknown.name}' is unknown."
                " Resolve it first.",
                step=unknown.name,
            )
        running = progress.first(StepState.RUNNING)
        if running is not None:
            raise RollbackBlocked(
                f"Cannot roll back: step '{running.name}' is running. Pause or cancel"
                " the run, then try again.",
                step=running.name,
            )
    _require_dead(change)


def _require_dead(change: RunChange) -> None:
    """Check that every lost attempt of a step with an effect was killed by now."""
    lost = Attempt.objects.filter(step_run__run=change.run, phase=Phase.LOST).exclude(
        step_run__effect_class=EffectClass.PURE
    )
    rows = list(lost.select_related("spec"))
    if not rows:
        return
    [[now]] = database.rows("SELECT clock_timestamp()", [])
    for attempt in rows:
        timeout_s = float(canonical.loads(bytes(attempt.spec.body)).get("timeout_s", 0))
        until = outcome.killed_by(attempt.recorded_at, timeout_s=timeout_s)
        if now < until:
            name = change.loaded.title(change.step(attempt.step_run_id))
            later = until + timedelta(seconds=1)
            raise RollbackBlocked(
                f"Cannot roll back: a lost attempt of step '{name}' may still be"
                f" running. Try again after {later:%H:%M:%S} UTC.",
                step=name,
                until=until.isoformat(),
            )
