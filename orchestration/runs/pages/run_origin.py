"""Where a run comes from: what proposed it, and which plan was edited for it."""

from dataclasses import dataclass
from uuid import UUID

from audit import selectors as audit
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Refusal
from orchestration.plans import selectors as plans
from orchestration.plans.models import PlanRevision
from orchestration.runs.models import Run


@dataclass(frozen=True)
class RunOrigin:
    """The schedule or webhook that proposed a run."""

    kind: str
    id: UUID


@dataclass(frozen=True)
class RunTemplate:
    """The revision that the plan of a run was written from."""

    revision: PlanRevision
    is_visible: bool
    """True if the reader may see that plan."""


def template_of(run: Run, by: Actor) -> RunTemplate | None:
    """Return the template of a run; None if its plan was not written from another one."""
    if run.template_id is None:
        return None
    row = PlanRevision.objects.select_related("plan").defer("body", "source")
    revision = row.get(pk=run.template_id)
    return RunTemplate(revision, plans.may_see(by, revision.plan))


def origin_of(run: Run) -> RunOrigin | None:
    """Return what proposed a run in the name of its proposer, from its first event."""
    for event in audit.events_after(run.stream, 0, limit=1):
        try:
            named = str(audit.envelope(event)["payload"].get("origin", ""))
            kind, _, pk = named.partition(":")
            return RunOrigin(kind, UUID(pk)) if kind else None
        except (Refusal, TypeError, ValueError, KeyError, AttributeError):
            return None  # a changed event, which the verification reports
    return None
