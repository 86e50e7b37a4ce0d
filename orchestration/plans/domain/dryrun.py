"""The report of a dry run: each step, and how much of the plan is covered."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

APPROVAL = "approval"
MAX_STEPS = 200
STEP_SECONDS = 20.0
TOTAL_SECONDS = 60.0
MAX_RUNNER_DEATHS = 3
"""A dry run ends when its steps have killed the runner this often."""
MAX_LINES = 20
MAX_LINE = 500


class Verdict(StrEnum):
    """The result of the dry run of a step."""

    COVERED = "covered"  # it worked and found nothing wrong
    WOULD_FAIL = "would_fail"  # it found a reason why the step would fail
    NOT_DRY_RUN = "not_dry_run"  # the action has none, or it gave no result
    APPROVAL = "approval"  # the step only waits for approval


class Limit(StrEnum):
    """A limit that ended a dry run before its last step."""

    STEPS = "steps"
    SECONDS = "seconds"
    RUNNER = "runner"


LIMIT_MESSAGES = {
    Limit.STEPS: f"A dry run covers at most {MAX_STEPS} steps.",
    Limit.SECONDS: f"The dry run reached its limit of {TOTAL_SECONDS:g} seconds.",
    Limit.RUNNER: f"The steps crashed the runner {MAX_RUNNER_DEATHS} times.",
}


@dataclass(frozen=True)
class StepPreview:
    """The dry run of one step."""

    step: str
    skill: str
    action: str
    kind: str
    """`native`, `simulated` or `none`; for a step without action `approval`."""
    summary: str
    """The effect of the step; for `none` the reason why it is unknown."""
    changes: tuple[str, ...] = ()
    touched: str = ""
    """The change that its dry run attempted before it was stopped; should be empty."""
    problems: tuple[str, ...] = ()
    """The problems of its target, each a code and a sentence."""
    fails: str = ""
    """The reason why it would fail; empty if there is none."""
    notes: tuple[str, ...] = ()
    """Notes on what its dry run did not check."""
    output_known: bool = False

    @property
    def failures(self) -> Iterator[str]:
        """Every reason why the step would fail, as sentences."""
        if self.touched:
            yield f"Its dry run tried to change something: {self.touched}"
        if self.fails:
            yield self.fails
        yield from self.problems

    @property
    def verdict(self) -> Verdict:
        """The result of the dry run of this step."""
        if self.kind == APPROVAL:
            return Verdict.APPROVAL
        if any(self.failures):
            return Verdict.WOULD_FAIL
        return Verdict.NOT_DRY_RUN if self.kind == "none" else Verdict.COVERED

    @property
    def covered(self) -> bool:
        """True if the dry run worked and found no failure."""
        return self.verdict is Verdict.COVERED

    def as_json(self) -> dict[str, Any]:
        """Return the form that is stored and sent to clients."""
        value = asdict(self)
        for name in ("changes", "problems", "notes"):
            value[name] = list(value[name])
        return {**value, "covered": self.covered, "verdict": str(self.verdict)}


@dataclass(frozen=True)
class Report:
    """The dry run of a plan."""

    steps: Sequence[StepPreview]
    limits: Sequence[Limit] = ()
    """The limits that ended it before its last step."""

    @property
    def coverage(self) -> int:
        """The percentage of skill steps that are covered; 100 if there are none."""
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
        """The reasons why it is incomplete, in sentences; empty if it is complete."""
        return " ".join(LIMIT_MESSAGES[limit] for limit in self.limits)

    def as_json(self) -> dict[str, Any]:
        """Return the form that is stored and sent to clients."""
        return {
            "coverage": self.coverage,
            "would_fail": self.would_fail,
            "limits": [str(limit) for limit in self.limits],
            "steps": [step.as_json() for step in self.steps],
        }


def bounded(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the first lines, each cut to a length that a page can show."""
    first = [cut(line) for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        first.append(f"and {len(lines) - MAX_LINES} more")
    return tuple(first)


def cut(text: str) -> str:
    """Return at most `MAX_LINE` characters, all of which Postgres can store."""
    text = str(text).encode(errors="replace").decode().replace("\0", "\ufffd")
    return text if len(text) <= MAX_LINE else text[: MAX_LINE - 1] + "…"
