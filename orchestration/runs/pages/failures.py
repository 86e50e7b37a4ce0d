"""Say what is known of a failed step: where, why, what it did, and its last lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef

from execfabric.lib import canonical
from orchestration.plans.domain import fallbacks
from orchestration.runs.domain.files import FILE
from orchestration.runs.domain.states import StepState
from orchestration.runs.models import Run, StepRun
from orchestration.runs.pages import logs
from orchestration.runs.pages.places import StepPlaces

SHOWN = 5
"""Maximum failed steps at the top of the page of a run."""
LINES = 20
"""Lines of its log that are shown of each."""
LONGEST = 200
"""Characters of a parameter that may name a target."""
TARGETS = 8


@dataclass(frozen=True)
class FailedStep:
    """A failed step, as the page of its run shows it."""

    row: StepRun
    title: str
    """Its path with the items of lists: `auth [3]/create`."""
    root: str
    """The step of the plan that it belongs to."""
    log: str
    """The last lines of its log."""
    targets: list[tuple[str, str]]
    """The texts and numbers that the action was called with."""
    files: list[str]
    """The names of the files that it has written."""

    @property
    def happened(self) -> str:
        return happened(self.row)

    @property
    def may_have_changed(self) -> bool:
        return may_have_changed(self.row)


def happened(row: StepRun) -> str:
    """Return a sentence on whether a failed step took effect; empty without an error."""
    if not row.error or row.state == StepState.BACKOFF:
        return ""
    ran = row.error.get("ran")
    if ran is None and row.state == StepState.INDETERMINATE:
        return "The step started. It may or may not have taken effect."
    if ran is None:
        return "It is unknown if the step finished. It is safe to repeat."
    if not ran:
        return "Nothing was changed: the step failed before it took effect."
    if row.effect_class == "pure":
        return "Nothing was changed: this action is read-only."
    return "The step started, so some changes may have been made."


def may_have_changed(row: StepRun) -> bool:
    """Return True if the failed step may have changed something outside."""
    ran = (row.error or {}).get("ran", False)
    return ran is not False and row.effect_class != "pure"


def of_run(run: Run) -> list[FailedStep]:
    """Return the first steps whose own failure is known, in the order of the run.

    A list or a sub-plan fails because of a member, which is returned instead of it.
    """
    failed = run.steps.filter(state=StepState.FAILED)
    members = StepRun.objects.filter(parent=OuterRef("pk"), state=StepState.FAILED)
    inner = members.exclude(key__endswith=fallbacks.SUFFIX)
    rows = failed.exclude(key__endswith=fallbacks.SUFFIX).exclude(Exists(inner))
    rows = rows.select_related("spec").defer("output", "run").order_by("position")
    places = StepPlaces(run)
    return [_failed(row, places) for row in rows[:SHOWN]]


def _failed(row: StepRun, places: StepPlaces) -> FailedStep:
    row.error = row.error or {}
    title = places.title_of(row)
    return FailedStep(
        row=row,
        title=title,
        root=title.partition("/")[0].partition(" ")[0],
        log="\n".join(logs.last_lines(row.pk, LINES)),
        targets=targets_of(row) if may_have_changed(row) else [],
        files=[*files_of(row.files)],
    )


def targets_of(row: StepRun) -> list[tuple[str, str]]:
    """Return the short texts and numbers among the exact parameters of a step."""
    spec = canonical.loads(bytes(row.spec.body)) if row.spec else {}
    params = spec.get("params") or {}
    short = (
        (name, str(value))
        for name, value in params.items()
        if isinstance(value, str | int | float) and len(str(value)) <= LONGEST
    )
    return sorted(short)[:TARGETS]


def files_of(files: Any) -> Iterator[str]:
    """Return the names of the files in a value of the `files` column."""
    for value in (files or {}).values():
        for item in value if isinstance(value, list) else [value]:
            yield str(item[FILE]["name"])
