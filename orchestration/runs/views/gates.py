"""The gate page: exactly what is asked, and the one form that answers it."""

from collections.abc import Mapping
from datetime import datetime
from textwrap import shorten
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from approvals import selectors as approvals
from approvals import voters
from approvals.domain import eligibility, seats
from approvals.domain.states import MEANING, GateStatus
from approvals.errors import AlreadyDecided, GateAlreadySettled, GateExpired
from approvals.models import Decision, Gate
from execfabric.accounts.models import User
from execfabric.console.http import (
    STATUS,
    HttpRequest,
    form_on,
    page,
    refusals_answered,
    wants_fragment,
)
from execfabric.http import BytesDownload, json_download
from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing, Refusal
from orchestration.plans import selectors as plans
from orchestration.runs.models import Run
from orchestration.runs.services import gates
from orchestration.runs.services.subjects import RUN
from orchestration.runs.views import content as contents
from orchestration.runs.views import dry_runs
from orchestration.runs.views import subject as subjects
from orchestration.runs.views.content import PlanStep
from orchestration.runs.views.runs import first_listed

UNREAD = frozenset({"pins", "revision__source"}) | {
    f"dry_run__{name}" for name in ("body", "source", "inputs", "pins")
}


class DecisionForm(forms.Form):
    """An answer to a gate: the verdict, what was seen, and why."""

    verdict = forms.ChoiceField(
        choices=[("approve", "Approve"), ("reject", "Reject")],
        error_messages={"required": "Choose approve or reject."},
    )
    # Which digest is right and which comment readable is the service's to say: it
    # puts every refusal into the record.
    digest = forms.CharField(required=False, widget=forms.HiddenInput)
    comment = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))


@require_safe
@refusals_answered
def gate(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show what a gate asks; looking at it never decides.

    `?from=` lists the steps of a long plan from that one on.
    """
    if not wants_fragment(request):
        return _gate_page(request, pk, DecisionForm())
    found = approvals.readable(by=request.user.actor(), gate_id=pk)
    content = contents.of(found, first=first_listed(request))
    return page(request, "gates/_plan_rows.html", {"gate": found, "content": content})


@form_on("gate", "pk")
@refusals_answered
def gate_decide(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Answer a gate; a refusal shows the gate as it stands now, with the reason."""
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _gate_page(request, pk, form, status=422)
    given = form.cleaned_data
    approve = given["verdict"] == "approve"
    try:
        decided = gates.decide(
            gate_id=pk,
            by=request.user.actor(),
            approve=approve,
            digest=given["digest"],
            comment=given["comment"],
            channel="page",
            at=clock.now(),
        )
    except Missing:
        raise
    except Refusal as refusal:
        return _gate_page(
            request, pk, form, refusal=refusal, status=STATUS[refusal.kind]
        )
    messages.success(request, _said(decided, approve=approve))
    return redirect("run", pk=decided.context_id)


@require_safe
@refusals_answered
def gate_subject(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The very bytes that the digest covers, for whoever wants to compute it."""
    found = approvals.readable(by=request.user.actor(), gate_id=pk)
    response = BytesDownload(
        bytes(found.subject), name=f"gate-{pk}.json", content_type="application/json"
    )
    response["X-ExecFabric-Digest"] = found.digest_hex
    return response


@require_safe
@refusals_answered
def gate_value(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One value of the content (`?at=`, a JSON pointer) as canonical JSON."""
    found = approvals.readable(by=request.user.actor(), gate_id=pk)
    pointer = request.GET.get("at", "")
    value = subjects.value_at(subjects.read(found), pointer)
    name = "-".join(["gate", str(pk)[:13], *pointer.split("/")[1:]])
    return json_download(value, f"{name}.json")


@require_safe
@refusals_answered
def gate_step(request: HttpRequest, pk: UUID, place: int) -> HttpResponse:
    """The details of one step of a plan gate: a fragment, or a page of its own."""
    found = approvals.readable(by=request.user.actor(), gate_id=pk)
    actions = subjects.planned(subjects.read(found), place, place + 1)
    if not actions:
        raise Missing(f"This plan has no step at place {place + 1}.")
    step = PlanStep(actions[0], contents.step_blocks(actions[0]))
    template = "gates/_plan_step.html" if wants_fragment(request) else "gates/step.html"
    return page(request, template, {"gate": found, "step": step})


def _gate_page(
    request: HttpRequest,
    pk: UUID,
    form: DecisionForm,
    *,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    by, at = request.user.actor(), clock.now()
    found = approvals.readable(by=by, gate_id=pk)
    given = approvals.decisions(found)
    eligible = approvals.still_eligible_of({found: given})[found]
    content = contents.of(found, first=first_listed(request))
    light = Run.objects.defer(*UNREAD)
    run = light.select_related("revision__plan", "dry_run").get(pk=found.context_id)
    # A run of an older release has none.
    row = getattr(run, "dry_run", None) if found.subject_kind == RUN else None
    context = {
        "gate": found,
        "content": content,
        "subject": content.subject,
        "action": content.action,
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
    context |= dry_runs.shown(row)
    context |= _asker(content.subject) | _reasons(found, run)
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
        voters.voter(by), requirements=gate.required(), excluded=gate.exclusions()
    )


def _said(gate: Gate, *, approve: bool) -> str:
    """What has come of a decision, by the state of the gate after it."""
    said = f"You {'approved' if approve else 'rejected'} “{shorten(gate.label, 100)}”."
    more = " More approvals are needed before it runs."
    return said + more if approve and gate.is_open else said


def _asker(subject: Mapping[str, Any]) -> dict[str, Any]:
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
