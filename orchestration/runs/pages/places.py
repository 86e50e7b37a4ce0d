"""Where a step run is written: in the plan of its run, or in a sub-plan of it."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast
from uuid import UUID

from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.fallbacks import is_fallback
from orchestration.plans.domain.subplans import joined
from orchestration.plans.domain.undo import SUFFIX, as_step, is_undo
from orchestration.runs.models import Run, StepRun
from orchestration.skills import selectors as skills


@dataclass(frozen=True)
class StepPlace:
    path: str
    """The ids of the step and of the plan steps around it: `auth/create`."""
    title: str
    """The path with the items of lists: `auth [3]/create`."""
    document: PlanDocument
    step: StepDocument
    pin: dict[str, Any]
    """What the step is bound to; empty for a step without a skill or a plan."""
    crumbs: tuple[StepRun, ...]
    """The plan steps around it, from the outside."""


class StepPlaces:
    """The places of step runs of one run. Reads rows only of steps inside others."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def of(self, row: StepRun) -> StepPlace:
        """Return where a step run is written."""
        if is_undo(row.key):
            return self._of_undo(row)
        crumbs = self._crumbs(row)
        around = joined(*(each.key for each in crumbs))
        document = self._included[around] if around else self._document
        path = joined(around, row.key)
        return StepPlace(
            path=path,
            title=self.title_of(row),
            document=document,
            step=document.by_key[row.key],
            pin=self._run.pins.get(path, {}),
            crumbs=crumbs,
        )

    def title_of(self, row: StepRun) -> str:
        """Return the path of a step run with the items of lists: `auth [3]/create`."""
        return joined(*(each.label for each in self._crumbs(row)), row.label)

    def _of_undo(self, row: StepRun) -> StepPlace:
        """Return the place of the step that an undo undoes, with the undo as the step."""
        owner = self.of(self._containers[cast(UUID, row.parent_id)])
        version_id = owner.pin.get("version_id", "")
        version = skills.pinned([version_id]).get(version_id)
        return replace(
            owner,
            path=f"{owner.path}{SUFFIX}",
            title=joined(*(each.label for each in owner.crumbs), row.label),
            step=as_step(owner.step, version.readable if version else None),
        )

    def _crumbs(self, row: StepRun) -> tuple[StepRun, ...]:
        crumbs: list[StepRun] = []
        while row.parent_id is not None:
            parent = self._containers[row.parent_id]
            is_part = is_fallback(row.key) or is_undo(row.key)
            if row.item is None and not is_part:
                crumbs.insert(0, parent)
            row = parent
        return tuple(crumbs)

    @cached_property
    def _document(self) -> PlanDocument:
        return plans.document(self._run.revision)

    @cached_property
    def _included(self) -> dict[str, PlanDocument]:
        return plans.included_documents(self._run.pins)

    @cached_property
    def _containers(self) -> dict[UUID, StepRun]:
        inner = self._run.steps.filter(parent__isnull=False).values("parent")
        rows = self._run.steps.filter(pk__in=inner)
        return {row.pk: row for row in rows.only("key", "item", "parent_id", "run_id")}
