"""The home page: what waits for the user, and the runs that they can see."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.db.models import Q
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
from orchestration.runs.pages import statuses, watch
from orchestration.runs.pages.run_list import WAITING, with_shown_state
from orchestration.runs.pages.watch import Finding
from orchestration.skills import selectors as skills
from orchestration.skills.domain.states import SkillState
from orchestration.skills.models import Skill
from orchestration.trace.models import VerificationJob
from orchestration.trace.services import jobs
from orchestration.triggers import selectors as triggers
from orchestration.triggers.models import Schedule

SHOWN = 8
"""Rows of each list."""


@dataclass(frozen=True)
class Home:
    rights: frozenset[Right]
    approvals: list[Gate]
    waiting: list[Run]
    """Runs that wait for the approval of someone else."""
    findings: list[Finding]
    """What is wrong with the service, for those who control runs."""
    late: list[Run]
    """Unfinished runs that are late, or have a late step."""
    running: list[Run]
    finished: list[Run]
    skills: list[Skill]
    """Quarantined skills, for those who manage skills."""
    schedules: list[Schedule]
    """Schedules whose last firing was refused."""
    audits: bool
    """True if the user reads everything and controls nothing."""
    verifications: list[VerificationJob]
    """The last verifications, for those who only read."""

    @property
    def proposes(self) -> bool:
        return Right.PROPOSE in self.rights

    @property
    def stamp(self) -> str:
        """Return a digest of the lists, by which the page detects a change."""
        runs: list[Any] = [*self.late, *self.waiting, *self.running, *self.finished]
        states = [
            *(f"{run.pk} {run.shown_state}" for run in runs),
            *(f"{gate.pk} {gate.status}" for gate in self.approvals),
            *(finding.code for finding in self.findings),
            *(str(skill.pk) for skill in self.skills),
            *(f"{row.pk} {row.version}" for row in self.schedules),
            *(f"{job.pk} {job.state} {job.done}" for job in self.verifications),
        ]
        return hashlib.sha256("\n".join(states).encode()).hexdigest()[:16]


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the home page; its lists poll for changes with `?seen=`."""
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
    # One query for both lists: a late run may also wait for an approval.
    busy = list(
        active.annotate(late=runs.is_late())
        .filter(Q(late=True) | ~Q(shown_state__in=WAITING))
        .order_by("-late", "-created_at")[: 2 * SHOWN]
    )
    quarantined: list[Skill] = []
    if Right.REGISTRY in rights:
        shown = skills.visible_to(by).filter(state=SkillState.QUARANTINED)
        quarantined = list(shown.order_by("name")[:SHOWN])
    audits = Right.TRACE in rights and Right.CONTROL not in rights
    shown_home = Home(
        rights=rights,
        approvals=waiting_for_me,
        waiting=list(
            active.filter(shown_state__in=WAITING).exclude(
                pk__in=[gate.context_id for gate in waiting_for_me]
            )[:SHOWN]
        ),
        findings=watch.findings() if Right.CONTROL in rights else [],
        late=[run for run in busy if run.late][:SHOWN],
        running=[run for run in busy if run.shown_state not in WAITING][:SHOWN],
        finished=list(visible.filter(state__in=FINAL_RUN)[:SHOWN]),
        skills=quarantined,
        schedules=triggers.needing_attention(
            by, SHOWN, sees_all=Right.SEE_ALL in rights
        ),
        audits=audits,
        verifications=jobs.recent(by=by, limit=3) if audits else [],
    )
    rows = [
        *shown_home.waiting,
        *shown_home.late,
        *shown_home.running,
        *shown_home.finished,
    ]
    statuses.attach(rows, at=at)
    return shown_home
