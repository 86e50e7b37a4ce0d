"""The report of a dry run: each step, and how much of the plan is covered."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

APPROVAL = "approval"
CHOOSE = "choose"
WAIT = "wait"
PLAN = "plan"
INPUT = "input"
NO_ACTION = frozenset({APPROVAL, CHOOSE, WAIT, INPUT, PLAN})
"""The kinds of steps that run no action."""
MAX_STEPS = 200
STEP_SECONDS = 20.0
TOTAL_SECONDS = 60.0
MAX_RUNNER_DEATHS = 3
"""The number of runner deaths after which a dry run ends."""
MAX_ITEMS = 10
"""The items of a list that a dry run covers."""
MAX_LINES = 20
MAX_LINE = 500


class Verdict(StrEnum):
    COVERED = "covered"  # it worked and found nothing wrong
    WOULD_FAIL = "would_fail"  # it found a reason why the step would fail
    NOT_DRY_RUN = "not_dry_run"  # the action has none, or it gave no result
    APPROVAL = "approval"  # the step only waits for approval
    CHOOSE = "choose"  # the step only chooses which steps run
    WAIT = "wait"  # the step only waits
    INPUT = "input"  # the step asks for values
    PLAN = "plan"  # the step runs a saved plan, whose steps follow
    SKIPPED = "skipped"  # its condition is false with these inputs


NOT_RUN = frozenset(Verdict(kind) for kind in NO_ACTION) | {Verdict.SKIPPED}
"""The verdicts on steps that would run no action."""


class DryRunLimit(StrEnum):
    """A limit that ended a dry run before its last step."""

    STEPS = "steps"
    SECONDS = "seconds"
    RUNNER = "runner"


LIMIT_MESSAGES = {
    DryRunLimit.STEPS: f"A dry run covers at most {MAX_STEPS} steps.",
    DryRunLimit.SECONDS: f"The dry run reached its limit of {TOTAL_SECONDS:g} seconds.",
    DryRunLimit.RUNNER: f"The steps crashed the runner {MAX_RUNNER_DEATHS} times.",
}


@dataclass(frozen=True)
class StepPreview:
    step: str
    skill: str
    action: str
    kind: str
    """`native`, `simulated`, `none`; for a step without an action its kind."""
    summary: str
    """The effect of the step; for `none` the reason why it is unknown."""
    changes: tuple[str, ...] = ()
    touched: str = ""
    """The change that its dry run attempted before it was stopped; should be empty."""
    problems: tuple[str, ...] = ()
    """The problems of its target, each a code and a sentence."""
    fails: str = ""
    notes: tuple[str, ...] = ()
    """Notes on what its dry run did not check."""
    output_known: bool = False
    skipped: bool = False
    """True if a condition on the inputs leaves the step out."""

    @property
    def failures(self) -> Iterator[str]:
        if self.touched:
            yield f"Its dry run tried to change something: {self.touched}"
        if self.fails:
            yield self.fails
        yield from self.problems

    @property
    def verdict(self) -> Verdict:
        if self.skipped:
            return Verdict.SKIPPED
        if self.kind in NO_ACTION and not self.fails:
            return Verdict(self.kind)
        if any(self.failures):
            return Verdict.WOULD_FAIL
        return Verdict.NOT_DRY_RUN if self.kind == "none" else Verdict.COVERED

    @property
    def covered(self) -> bool:
        return self.verdict is Verdict.COVERED

    def as_json(self) -> dict[str, Any]:
        value = asdict(self)
        for name in ("changes", "problems", "notes"):
            value[name] = list(value[name])
        return {**value, "covered": self.covered, "verdict": str(self.verdict)}


@dataclass(frozen=True)
class Report:
    steps: Sequence[StepPreview]
    limits: Sequence[DryRunLimit] = ()
    """The limits that ended the dry run before its last step."""

    @property
    def coverage(self) -> int:
        """The percentage of skill steps that are covered; 100 if there are none."""
        skills = [
            step
            for step in self.steps
            if step.kind not in NO_ACTION and not step.skipped
        ]
        if not skills:
            return 100
        return 100 * sum(step.covered for step in skills) // len(skills)

    @property
    def would_fail(self) -> list[dict[str, str]]:
        return [
            {"step": step.step, "message": cut(" ".join(step.failures))}
            for step in self.steps
            if step.verdict is Verdict.WOULD_FAIL
        ]

    @property
    def reason(self) -> str:
        """Sentences that say why the dry run is incomplete; else empty."""
        return " ".join(LIMIT_MESSAGES[limit] for limit in self.limits)

    def as_json(self) -> dict[str, Any]:
        return {
            "coverage": self.coverage,
            "would_fail": self.would_fail,
            "limits": [str(limit) for limit in self.limits],
            "steps": [step.as_json() for step in self.steps],
        }


def of_items(
    step: str, kind: str, previews: Sequence[StepPreview], count: int
) -> StepPreview:
    """Combine the dry runs of the first items of a list into that of its step."""
    items = "item" if count == 1 else "items"
    summaries = list(dict.fromkeys(one.summary for one in previews if one.summary))
    notes = [note for one in previews for note in one.notes]
    if count > len(previews):
        notes.insert(0, f"Only the first {len(previews)} items were dry-run.")
    named = list(enumerate(previews))
    return StepPreview(
        step=step,
        skill="",
        action="",
        kind=kind,
        summary=cut(f"Runs once for each of {count} {items}. {' '.join(summaries)}"),
        changes=bounded([f"[{i}] {line}" for i, one in named for line in one.changes]),
        touched=next((one.touched for one in previews if one.touched), ""),
        problems=bounded([f"Item {i}: {p}" for i, one in named for p in one.problems]),
        fails=next((f"Item {i}: {one.fails}" for i, one in named if one.fails), ""),
        notes=bounded(list(dict.fromkeys(notes))),
        output_known=len(previews) == count and all(o.output_known for o in previews),
    )


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
