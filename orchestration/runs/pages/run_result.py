"""What a finished run returned, and what can be done with it next."""

from dataclasses import dataclass
from typing import Any

from execfabric.identity.authority import rights_of
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from orchestration.plans import selectors as plans
from orchestration.runs import outputs
from orchestration.runs.domain.states import StepState
from orchestration.runs.models import Run, StepRun
from orchestration.runs.pages.failures import files_of

STEPS = 3
"""Steps whose output is shown if the plan declares none."""
FILES = 50


@dataclass(frozen=True)
class RunResult:
    """The result of a finished run for one reader."""

    output: dict[str, Any] | None
    """The declared outputs; None if it has none."""
    last: list[StepRun]
    """Without declared outputs, the last steps that returned something."""
    files: list[StepRun]
    """The last steps that returned files."""
    may_propose: bool
    may_see_plan: bool
    may_audit: bool

    @property
    def is_empty(self) -> bool:
        return self.output is None and not self.last and not self.files


def of_run(run: Run, by: Actor) -> RunResult:
    """Return the result of a finished run."""
    rights = rights_of(by)
    output = outputs.of_run(run)
    done = run.steps.filter(parent=None, state=StepState.SUCCEEDED).order_by(
        "-completed_seq"
    )
    with_output = done.exclude(output=None).exclude(output={}).defer("error")
    with_files = done.exclude(files={}).defer("output", "error")[:STEPS]
    return RunResult(
        output=output,
        last=[*with_output[:STEPS]] if output is None else [],
        files=[row for row in with_files if any(files_of(row.files))],
        may_propose=Right.PROPOSE in rights,
        may_see_plan=plans.may_see(by, run.revision.plan),
        may_audit=Right.TRACE in rights,
    )
