"""Compare two revisions of a plan, with the risks and approvals of today."""

from approvals import selectors as approvals
from execfabric.lib.actor import Actor
from orchestration.plans import selectors
from orchestration.plans.domain import differences
from orchestration.plans.domain.differences import (
    ComparedPlan,
    ComparedStep,
    PlanDifference,
)
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.subplans import name_of
from orchestration.plans.models import PlanRevision
from orchestration.plans.services.check import SavedPlans, SkillCatalog


def compare(before: PlanRevision, after: PlanRevision, *, by: Actor) -> PlanDifference:
    """Return what differs between two revisions that `by` may see."""
    reader = _Reader(by)
    return differences.between(reader.compared(before), reader.compared(after))


def compared(revision: PlanRevision, *, by: Actor) -> ComparedPlan:
    """Return a revision with the risks and approvals that its steps have now."""
    return _Reader(by).compared(revision)


class _Reader:
    """What one user sees of plans, with each sub-plan read once."""

    def __init__(self, by: Actor) -> None:
        self._catalog = SkillCatalog(by)
        self._plans = SavedPlans(by)
        self._rules = approvals.policies_in_force()
        self._inside: dict[str, ComparedStep | None] = {}

    def compared(self, revision: PlanRevision) -> ComparedPlan:
        return self._of_document(selectors.document(revision))

    def _of_document(self, document: PlanDocument) -> ComparedPlan:
        entries = {
            step.id: entry
            for step in document.by_key.values()
            if step.kind == "skill"
            and (entry := self._catalog.find(step.skill, step.version)) is not None
        }
        inside = {
            step.id: found
            for step in document.steps
            if step.plan and (found := self._of_subplan(step)) is not None
        }
        return differences.compared(document, entries, self._rules, inside)

    def _of_subplan(self, step: StepDocument) -> ComparedStep | None:
        """Return the steps of a saved plan as one; None if it is hidden or in a cycle."""
        saved = self._plans.find(*name_of(step.plan))
        if saved is None:
            return None
        if saved.revision_id not in self._inside:
            self._inside[saved.revision_id] = (
                None  # until it is read: a cycle ends here
            )
            inner = self._of_document(saved.document)
            self._inside[saved.revision_id] = differences.merged(inner)
        return self._inside[saved.revision_id]
