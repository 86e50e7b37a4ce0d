"""What a dry run found out, step by step, and how much of the plan it covers."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

APPROVAL = "approval"
MOST_STEPS = 200
STEP_SECONDS = 20.0
TOTAL_SECONDS = 60.0
MOST_RUNNER_DEATHS = 3
"""A dry run is ended when its steps have killed the runner this often."""
MOST_LINES = 20
LONGEST_LINE = 500


class Verdict(StrEnum):
    """What the dry run of a step says about it."""

    COVERED = "covered"  # it worked, and the step would do what it says
    WOULD_FAIL = "would_fail"  # it found a reason why the step would fail
    NOT_DRY_RUN = "not_dry_run"  # there was none, or it gave no answer
    APPROVAL = "approval"  # nothing runs: people are asked


class Limit(StrEnum):
    """A bound that ended a dry run before its last step."""

    STEPS = "steps"
    SECONDS = "seconds"
    RUNNER = "runner"


LIMIT_SAYS = {
    Limit.STEPS: f"A dry run covers at most {MOST_STEPS} steps.",
    Limit.SECONDS: f"The dry run used up its {TOTAL_SECONDS:g} seconds.",
    Limit.RUNNER: f"Its steps ended the runner {MOST_RUNNER_DEATHS} times.",
}


@dataclass(frozen=True)
class StepPreview:
    """What one step would do."""

    step: str
    skill: str
    action: str
    kind: str
    """`native`, `simulated` or `none`; for a step of people `approval`."""
    summary: str
    """What it would do; for `none` the reason why that is not known."""
    changes: tuple[str, ...] = ()
    touched: str = ""
    """What its dry run tried to change before it was stopped; empty is good."""
    problems: tuple[str, ...] = ()
    """What is wrong with its target, as code and sentence."""
    fails: str = ""
    """Why it would fail, as its dry run says; empty where nothing speaks against it."""
    notes: tuple[str, ...] = ()
    """What its dry run left out."""
    output_known: bool = False

    @property
    def failures(self) -> Iterator[str]:
        """Every reason why the step would fail, each a sentence."""
        if self.touched:
            yield f"Its dry run tried to change something: {self.touched}"
        if self.fails:
            yield self.fails
        yield from self.problems

    @property
    def verdict(self) -> Verdict:
        """What the dry run says about this step."""
        if self.kind == APPROVAL:
            return Verdict.APPROVAL
        if any(self.failures):
            return Verdict.WOULD_FAIL
        return Verdict.NOT_DRY_RUN if self.kind == "none" else Verdict.COVERED

    @property
    def covered(self) -> bool:
        """Whether the dry run worked and found no failure."""
        return self.verdict is Verdict.COVERED

    def as_json(self) -> dict[str, Any]:
        """The form that is stored, shown and sent."""
        value = asdict(self)
        for name in ("changes", "problems", "notes"):
            value[name] = list(value[name])
        return {**value, "covered": self.covered, "verdict": str(self.verdict)}


@dataclass(frozen=True)
class Report:
    """The dry run of a plan."""

    steps: Sequence[StepPreview]
    limits: Sequence[Limit] = ()
    """The bounds that ended it before its last step."""

    @property
    def coverage(self) -> int:
        """Per cent of the skill steps that are covered; 100 where there are none."""
        skills = [step for step in self.steps if step.kind != APPROVAL]
        if not skills:
            return 100
        return 100 * sum(step.covered for step in skills) // len(skills)

    @property
    def would_fail(self) -> list[dict[str, str]]:
        """The steps that would fail, each with one sentence."""
        return [
            {"step": step.step, "message": cut(" ".join(step.failures))}
            for step in self.steps
            if step.verdict is Verdict.WOULD_FAIL
        ]

    @property
    def reason(self) -> str:
        """Why it is incomplete, as a sentence; empty where it is not."""
        return " ".join(LIMIT_SAYS[limit] for limit in self.limits)

    def as_json(self) -> dict[str, Any]:
        """The form that is stored, shown and sent."""
        return {
            "coverage": self.coverage,
            "would_fail": self.would_fail,
            "limits": [str(limit) for limit in self.limits],
            "steps": [step.as_json() for step in self.steps],
        }


def bounded(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the first lines, each cut to a length that a page can show."""
    kept = [cut(line) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        kept.append(f"and {len(lines) - MOST_LINES} more")
    return tuple(kept)


def cut(text: str) -> str:
    """Return at most `LONGEST_LINE` characters, all of which Postgres can store."""
    text = str(text).encode(errors="replace").decode().replace("\0", "\ufffd")
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"
