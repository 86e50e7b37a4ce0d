"""The gate page: exactly what is asked, and the one form that answers it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from approvals import selectors as approvals
from approvals.domain import eligibility, seats
from approvals.domain.states import MEANING, GateStatus
from approvals.errors import AlreadyDecided, GateAlreadySettled, GateExpired
from approvals.models import Decision, Gate
from execfabric.accounts.models import User
from execfabric.console.http import STATUS, HttpRequest, page, refusals_answered
from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing, Refusal
from orchestration.plans import selectors as plans
from orchestration.runs.forms import DecisionForm
from orchestration.runs.models import Run
from orchestration.runs.services import gates
from orchestration.runs.views import subject as subjects


@require_safe
@refusals_answered
def gate(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show what a gate asks; looking at it never decides."""
    return _gate_page(request, pk, DecisionForm())


@require_POST
@refusals_answered
def gate_decide(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Answer a gate; a refusal shows the gate as it stands now, with the reason."""
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _gate_page(request, pk, form, status=422)
    answer = form.answer()
    try:
        decided = gates.decide(
            gate_id=pk,
            by=request.user.actor(),
            channel="page",
            at=clock.now(),
            **answer,
        )
    except Missing:
        raise
    except Refusal as refusal:
        return _gate_page(
            request, pk, form, refusal=refusal, status=STATUS[refusal.kind]
        )
    verb = "approved" if answer["approve"] else "rejected"
    messages.success(request, f"You {verb} “{decided.label}”.")
    return redirect("run", pk=decided.context_id)


@require_safe
@refusals_answered
def gate_subject(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The very bytes that the digest covers, for whoever wants to compute it."""
    found = approvals.get(by=request.user.actor(), gate_id=pk)
    response = HttpResponse(bytes(found.subject), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="gate-{pk}.json"'
    response["Cache-Control"] = "no-store"
    return response


def _gate_page(
    request: HttpRequest,
    pk: UUID,
    form: DecisionForm,
    *,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    by, at = request.user.actor(), clock.now()
    found = approvals.get(by=by, gate_id=pk)
    given = approvals.decisions(found)
    eligible = approvals.still_eligible_of({found: given})[found]
    subject = subjects.read(found)
    run = Run.objects.select_related("revision__plan").get(pk=found.context_id)
    context = {
        "gate": found,
        "subject": subject,
        "action": None if "steps" in subject else subjects.action_of(subject),
        "steps": subjects.planned(subject),
        "run": run,
        "decisions": given,
        "eligible": eligible,
        "have": sum(group.have for group in eligible),
        "need": seats.wanted(found.required()),
        "meaning": MEANING.get(GateStatus(found.status), ""),
        "hindrance": _hindrance(found, given, by=by, at=at),
        "form": form,
        "refusal": refusal,
        "now": at,
    }
    context |= _asker(subject) | _reasons(found, run)
    return page(request, "gates/gate.html", context, status=status)


def _hindrance(
    gate: Gate, given: list[Decision], *, by: Actor, at: datetime
) -> Refusal | None:
    """Why this person cannot answer; the service decides again when they do."""
    if not gate.is_open:
        return GateAlreadySettled()
    if any(decision.voter_key == by.key for decision in given):
        return AlreadyDecided()
    if gate.expires_at <= at:
        return GateExpired()
    return eligibility.may_decide(
        approvals.voter(by), requirements=gate.required(), excluded=gate.exclusions()
    )


def _asker(subject: dict[str, Any]) -> dict[str, Any]:
    """Who proposed, as the bytes say, and what the person behind an agent is called."""
    proposer = subject.get("proposer")
    proposer = proposer if isinstance(proposer, dict) else {}
    behind = str(subject.get("on_behalf_of", ""))
    pk = behind.removeprefix("user:")
    owner = None
    if proposer.get("kind") == "agent" and pk.isdigit():
        owner = User.objects.filter(pk=pk).first()
    return {
        "proposer": proposer,
        "on_behalf_of": behind,
        "owner": owner.get_username() if owner else "",
    }


def _reasons(gate: Gate, run: Run) -> dict[str, Any]:
    """Rules and the plan author's own words apart: the latter are claims."""
    document = plans.document(run.revision)
    step = next((step for step in document.steps if step.id == gate.step), None)
    asked = step.approval if step else None
    claim = asked.reason if asked else ""
    return {
        "reasons": [reason for reason in gate.reasons if reason != claim],
        "claimed_reason": claim,
        "claimed_description": document.description,
    }
