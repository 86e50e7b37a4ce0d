"""Plan the probe of a step whose outcome becomes unknown."""

from typing import Any

from execfabric.lib import canonical
from orchestration.runs.domain.outcome import killed_by
from orchestration.runs.engine import specs
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import Attempt, StepRun


def planned(change: RunChange, step: StepRun) -> dict[str, Any]:
    """Return the columns that say when the target of a step is asked, if it can be.

    Not before the old attempt is certainly dead: an answer would be worth nothing.
    """
    columns: dict[str, Any] = {"probe_at": None, "probe_record": None}
    action = specs.action_of(change, step)
    if action is None or not action.probe:
        return columns
    attempts = Attempt.objects.filter(step_run=step, fence=step.fence)
    attempt = attempts.select_related("spec").get()
    value = canonical.loads(bytes(attempt.spec.body))
    if action.is_probed(value["params"]):
        timeout_s = float(value["timeout_s"])
        columns["probe_at"] = killed_by(attempt.recorded_at, timeout_s=timeout_s)
    return columns
