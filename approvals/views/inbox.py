"""The approvals that wait for the user, and those that they decided."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from approvals import selectors
from approvals.domain import seats
from approvals.domain.eligibility import Why
from approvals.domain.policy import UNSAID, needs_gate
from approvals.models import Decision, Gate
from execfabric.identity.authority import rights_of
from execfabric.identity.models import names_of
from execfabric.lib import clock, ids
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, page, wants_fragment

PAGE = 50
SOON = timedelta(hours=1)


@dataclass(frozen=True)
class Reason:
    text: str
    rule: str = ""
    is_claim: bool = False
    """True if the text comes from the plan and was not verified."""


@dataclass(frozen=True)
class Waiting:
    gate: Gate
    proposer: str
    by_agent: bool
    on_behalf_of: str
    """For an agent, the name of its owner."""
    reason: Reason | None
    have: int
    need: int
    ends_soon: bool


@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """List the gates that the user can decide on, or has decided (`?tab=decided`)."""
    by, at = request.user.actor(), clock.now()
    if request.GET.get("tab") == "decided":
        return page(request, "approvals/decided.html", _decided(request, by))
    gates = selectors.inbox(by=by, at=at)
    names = names_of(key for gate in gates for key in gate.excluded_keys())
    lines = [_line(gate, names, at=at) for gate in gates]
    may_decide = bool(lines) or Right.DECIDE in rights_of(by)
    context = {"lines": lines, "may_decide": may_decide}
    template = "_inbox_list.html" if wants_fragment(request) else "inbox.html"
    return page(request, f"approvals/{template}", context)


def _decided(request: HttpRequest, by: Actor) -> dict[str, object]:
    found = Decision.objects.filter(voter_key=by.key).select_related("gate")
    found = found.defer("gate__subject").order_by("-id")
    if before := ids.parsed(request.GET.get("before", "")):
        found = found.filter(id__lt=before)
    decisions = list(found[: PAGE + 1])
    more = decisions[PAGE - 1].pk if len(decisions) > PAGE else None
    return {"decisions": decisions[:PAGE], "before": more, "paged": before is not None}


def _line(gate: Gate, names: dict[str, str], *, at: datetime) -> Waiting:
    of = {exclusion.why: exclusion.key for exclusion in gate.exclusions()}
    proposer = of.get(Why.PROPOSER, "")
    owner = of.get(Why.AGENT_OWNER, "")
    given = {d.voter_key: d.groups for d in gate.decisions.all() if d.approve}
    return Waiting(
        gate=gate,
        proposer=names.get(proposer, ""),
        by_agent=proposer.startswith("agent:"),
        on_behalf_of=names.get(owner, ""),
        reason=_reason(gate),
        have=seats.filled(gate.required(), given),
        need=seats.capacities(gate.required()).total(),
        ends_soon=gate.expires_at - at < SOON,
    )


def _reason(gate: Gate) -> Reason | None:
    """Return the first reason, and the policy or plan that it comes from.

    Its position gives the source, because a plan could imitate the text: risk, then
    policies, then the plan.
    """
    text = next(iter(gate.reasons), "")
    if not text:
        return None
    is_risky = bool(gate.risk) and needs_gate(gate.risk)
    if not gate.step or is_risky or text == UNSAID:
        return Reason(text)
    if gate.policy_versions:
        return Reason(text, rule=gate.policy_versions[0])
    return Reason(text, is_claim=True)
