"""What the start page shows: what waits for a person, what is under way, what ended."""

from dataclasses import dataclass
from datetime import datetime

from approvals import selectors as approvals
from approvals.models import Gate
from execfabric.identity.authority import rights_of
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from orchestration.runs import selectors as runs
from orchestration.runs.domain.states import FINAL_RUN
from orchestration.runs.models import Run

SHOWN = 8


@dataclass(frozen=True)
class Home:
    """The start page for one person."""

    waiting: list[Gate]
    active: list[Run]
    ended: list[Run]
    decides: bool
    proposes: bool
    traces: bool


def of(by: Actor, *, at: datetime) -> Home:
    """What concerns a person, by their rights."""
    rights = rights_of(by)
    decides = Right.DECIDE in rights
    visible = runs.visible_to(by).order_by("-created_at")
    return Home(
        waiting=approvals.inbox(by=by, at=at) if decides else [],
        active=list(visible.exclude(state__in=FINAL_RUN)[:SHOWN]),
        ended=list(visible.filter(state__in=FINAL_RUN)[:SHOWN]),
        decides=decides,
        proposes=Right.PROPOSE in rights,
        traces=Right.TRACE in rights,
    )
