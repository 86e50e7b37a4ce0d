"""Compare two runs: their inputs, and what each of their steps was and returned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.db.models.fields.json import KeyTextTransform

from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from orchestration.plans.domain.differences import FieldChange, field_changes
from orchestration.plans.domain.fallbacks import SUFFIX, is_fallback
from orchestration.plans.domain.subplans import joined
from orchestration.runs import selectors
from orchestration.runs.domain.states import StepState
from orchestration.runs.models import Run, StepRun

DETAILED = 200
"""Maximum differing steps whose values are compared; of the others, their digests."""
_Place = tuple[Any, ...]


@dataclass(frozen=True)
class ComparedSide:
    """A step of one of the runs."""

    row: StepRun

    @property
    def state(self) -> str:
        return str(self.row.state)

    @property
    def took_s(self) -> float | None:
        """Return how long it took, with waits."""
        started, finished = self.row.started_at, self.row.finished_at
        if started is None or finished is None:
            return None
        return round((finished - started).total_seconds(), 3)


@dataclass(frozen=True)
class StepComparison:
    """A step that one or both of two runs have."""

    title: str
    before: ComparedSide | None
    after: ComparedSide | None
    changes: tuple[FieldChange, ...]

    @property
    def is_reused(self) -> bool:
        return self.after is not None and self.after.row.reused_from_id is not None


@dataclass(frozen=True)
class RunComparison:
    """Two runs, and what differs between them."""

    before: Run
    after: Run
    inputs: tuple[FieldChange, ...]
    steps: tuple[StepComparison, ...]
    """Those that differ come first."""
    is_cut: bool
    """True if more than `DETAILED` steps differ."""

    @property
    def differing(self) -> list[StepComparison]:
        return [step for step in self.steps if step.changes]

    @property
    def same(self) -> list[StepComparison]:
        return [step for step in self.steps if not step.changes]


def compare(by: Actor, run_id: Any, other_id: Any) -> RunComparison:
    """Compare two visible runs.

    :raises RunUnknown: when one does not exist, or `by` may not see it
    """
    before, after = (
        selectors.get(by, pk, needs={"inputs"}) for pk in (run_id, other_id)
    )
    old, new = _steps(before), _steps(after)
    pairs = [(old.get(place), new.get(place)) for place in {**old, **new}]
    differing = [pair for pair in pairs if not _is_same(*pair)]
    values = _values(row for pair in differing[:DETAILED] for row in pair if row)
    steps = [_compared(*pair, values) for pair in pairs]
    return RunComparison(
        before=before,
        after=after,
        inputs=tuple(field_changes(before.inputs, after.inputs)),
        steps=tuple(sorted(steps, key=lambda step: not step.changes)),
        is_cut=len(differing) > DETAILED,
    )


def _steps(run: Run) -> dict[_Place, StepRun]:
    """Return the step runs of a run by their places, with their titles."""
    rows: QuerySet[StepRun] = (
        run.steps.order_by("position")
        .defer(*selectors.CONTENT, "item_value", "condition")
        .annotate(why=KeyTextTransform("message", "error"))
        .annotate(left_out=KeyTextTransform("reason", "condition"))
    )
    places: dict[Any, _Place] = {None: ()}
    titles: dict[Any, str] = {None: ""}
    found: dict[_Place, StepRun] = {}
    for row in rows:
        places[row.pk] = (*places[row.parent_id], row.key, row.item)
        around = titles[row.parent_id]
        if row.item is not None:
            title = f"{around} [{row.item}]"
        else:
            is_part = is_fallback(row.key)
            title = f"{around}{SUFFIX}" if is_part else joined(around, row.key)
        titles[row.pk] = row.__dict__["title"] = title
        found[places[row.pk]] = row
    return found


def _is_same(before: StepRun | None, after: StepRun | None) -> bool:
    """Return True if two steps did the same with the same result, by their digests.

    A step without an output has the reason for that.
    """
    return before is not None and after is not None and _end(before) == _end(after)


def _end(row: StepRun) -> dict[str, Any]:
    return _digests_of(row) | {"reason": row.__dict__["left_out"]}


def _values(rows: Iterable[StepRun]) -> dict[Any, dict[str, Any]]:
    """Return the compared values of steps: parameters, output, files and error."""
    full = StepRun.objects.filter(pk__in=[row.pk for row in rows])
    return {row.pk: _values_of(row) for row in full.select_related("spec")}


def _values_of(row: StepRun) -> dict[str, Any]:
    spec = canonical.loads(bytes(row.spec.body)) if row.spec else {}
    values = {"state": str(row.state), "params": spec.get("params", spec.get("inputs"))}
    if skill := spec.get("skill"):
        values["skill"] = f"{skill['slug']}@{skill['version']}"
    if row.state == StepState.SUCCEEDED:
        values |= {"output": row.output, "files": row.files}
    elif row.error:
        values["error"] = row.error.get("message")
    elif row.condition:
        values["reason"] = row.condition.get("reason")
    return {name: value for name, value in values.items() if value not in (None, {})}


def _digests_of(row: StepRun) -> dict[str, Any]:
    return {
        "state": str(row.state),
        "digest of the parameters": row.reuse_digest,
        "digest of the output": row.output_digest,
        "error": row.__dict__["why"],
    }


def _compared(
    before: StepRun | None, after: StepRun | None, values: Mapping[Any, Any]
) -> StepComparison:
    old, new = (
        (values.get(row.pk) or _digests_of(row) if row else {})
        for row in (before, after)
    )
    changes = () if _is_same(before, after) else tuple(field_changes(old, new))
    named = before or after
    return StepComparison(
        title=named.__dict__["title"] if named else "",
        before=ComparedSide(before) if before else None,
        after=ComparedSide(after) if after else None,
        changes=changes,
    )
