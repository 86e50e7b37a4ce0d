"""The home page: what waits for the user, and the runs that they can see."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from approvals import selectors as approvals
from approvals.models import Gate
from execfabric.identity.authority import rights_of
from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, page, wants_fragment
from orchestration.runs import selectors as runs
from orchestration.runs.domain.states import FINAL_RUN
from orchestration.runs.models import Run
from orchestration.runs.pages.run_list import WAITING, with_shown_state
from orchestration.skills import selectors as skills
from orchestration.skills.domain.states import SkillState
from orchestration.skills.models import Skill
from orchestration.trace.models import VerificationJob
from orchestration.trace.services import jobs

SHOWN = 8
"""Rows of each list."""


@dataclass(frozen=True)
class Home:
    """The home page of one user."""

    rights: frozenset[Right]
    approvals: list[Gate]
    waiting: list[Run]
    """Runs that wait for the approval of someone else."""
    running: list[Run]
    finished: list[Run]
    skills: list[Skill]
    """Quarantined skills, for those who manage skills."""
    verifications: list[VerificationJob]
    """The last verifications, for those who only read."""

    @property
    def proposes(self) -> bool:
        return Right.PROPOSE in self.rights

    @property
    def audits(self) -> bool:
        """Return True if the user reads everything and controls nothing."""
        return Right.TRACE in self.rights and Right.CONTROL not in self.rights

    @property
    def stamp(self) -> str:
        """Return a digest of what the page lists, by which it sees a change."""
        text = "\n".join(_states(self))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the home page; its lists ask with `?seen=` if they are still current."""
    shown = _home(request.user.actor(), at=clock.now())
    if not wants_fragment(request):
        return page(request, "home/home.html", {"home": shown})
    if request.GET.get("seen") == shown.stamp:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return page(request, "home/_home.html", {"home": shown})


def _home(by: Actor, *, at: datetime) -> Home:
    rights = rights_of(by)
    waiting_for_me = approvals.inbox(by=by, at=at) if Right.DECIDE in rights else []
    visible = with_shown_state(runs.visible_to(by)).order_by("-created_at")
    active = visible.exclude(state__in=FINAL_RUN)
    audits = Right.TRACE in rights and Right.CONTROL not in rights
    return Home(
        rights=rights,
        approvals=waiting_for_me,
        waiting=list(
            active.filter(shown_state__in=WAITING).exclude(
                pk__in=[gate.context_id for gate in waiting_for_me]
            )[:SHOWN]
        ),
        running=list(active.exclude(shown_state__in=WAITING)[:SHOWN]),
        finished=list(visible.filter(state__in=FINAL_RUN)[:SHOWN]),
        skills=_quarantined(by) if Right.REGISTRY in rights else [],
        verifications=jobs.recent(by=by, limit=3) if audits else [],
    )


def _quarantined(by: Actor) -> list[Skill]:
    visible = skills.visible_to(by).filter(state=SkillState.QUARANTINED)
    return list(visible.order_by("name")[:SHOWN])


def _states(home: Home) -> Iterable[str]:
    listed: list[Any] = [*home.waiting, *home.running, *home.finished]
    for run in listed:
        yield f"{run.pk} {run.shown_state}"
    for gate in home.approvals:
        yield f"{gate.pk} {gate.status}"
    for skill in home.skills:
        yield str(skill.pk)
    for job in home.verifications:
        yield f"{job.pk} {job.state} {job.done}"
