"""What a dry run found out, step by step, and how much of the plan it covers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

APPROVAL = "approval"


@dataclass(frozen=True)
class StepPreview:
    """What one step would do."""

    step: str
    skill: str
    action: str
    kind: str
    """`native`, `simulated` or `none`; for a step of people `approval`."""
    summary: str
    changes: tuple[str, ...] = ()
    touched: str = ""
    """What its dry run tried to change before it was stopped; empty is good."""
    problems: tuple[str, ...] = ()
    output_known: bool = False

    @property
    def covered(self) -> bool:
        """Whether the dry run says something about this step that can be trusted."""
        return self.kind in {"native", "simulated"} and not self.touched


@dataclass(frozen=True)
class Report:
    """The dry run of a plan."""

    steps: Sequence[StepPreview]

    @property
    def coverage(self) -> int:
        """Per cent of the skill steps that are covered; 100 where there are none."""
        skills = [step for step in self.steps if step.kind != APPROVAL]
        if not skills:
            return 100
        return 100 * sum(step.covered for step in skills) // len(skills)

    def as_json(self) -> dict[str, Any]:
        """The form that is stored, shown and sent."""
        steps = [{**asdict(step), "covered": step.covered} for step in self.steps]
        for step in steps:
            step["changes"] = list(step["changes"])
            step["problems"] = list(step["problems"])
        return {"coverage": self.coverage, "steps": steps}
