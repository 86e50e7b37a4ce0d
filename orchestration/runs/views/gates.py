"""The page of a gate, and the form that decides on it."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from approvals import selectors as approvals
from approvals.models import Gate
from approvals.views import content as contents
from approvals.views.gates import shown
from execfabric.identity.models import names_of
from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, first_listed, form_on, page, wants_fragment
from execfabric.web.problems import STATUS
from orchestration.plans import selectors as plans
from orchestration.runs.control import gates
from orchestration.runs.engine.subjects import RUN
from orchestration.runs.models import Run
from orchestration.runs.views import dry_runs

UNREAD = frozenset({"pins", "revision__source"}) | {
    f"dry_run__{name}" for name in ("body", "source", "inputs", "pins")
}


class DecisionForm(forms.Form):
    """A decision: the verdict, the digest of the content, and a comment."""

    verdict = forms.ChoiceField(
        choices=[("approve", "Approve"), ("reject", "Reject")],
        error_messages={"required": "Choose approve or reject."},
    )
    # The service checks digest and comment, because it records each refusal.
    digest = forms.CharField(required=False, widget=forms.HiddenInput)
    comment = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))


@require_safe
def gate(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a gate; `?from=` lists the steps of a long plan from that one on."""
    if not wants_fragment(request):
        return _gate_page(request, pk, DecisionForm())
    found = approvals.readable(by=request.user.actor(), gate_id=pk)
    content = contents.of(found, first=first_listed(request))
    return page(request, "gates/_plan_rows.html", {"gate": found, "content": content})


@form_on("gate", "pk")
def gate_decide(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Decide on a gate; a refusal shows the current gate with the reason."""
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _gate_page(request, pk, form, status=422)
    by = request.user.actor()
    approve = form.cleaned_data["verdict"] == "approve"
    try:
        decided = gates.decide(
            gate_id=pk,
            by=by,
            approve=approve,
            digest=form.cleaned_data["digest"],
            comment=form.cleaned_data["comment"],
            channel="page",
            at=clock.now(),
        )
    except Missing:
        raise
    except Refusal as refusal:
        return _gate_page(
            request, pk, form, refusal=refusal, status=STATUS[refusal.kind]
        )
    word = "approved" if approve else "rejected"
    message = f"You {word} “{shorten(decided.label, 100)}”."
    if approve and decided.is_open:
        message += " More approvals are required before it runs."
    messages.success(request, message)
    if form.cleaned_data["comment"].strip() != _comment_of(decided, by):
        already = "You had already decided. Your new comment was not stored."
        messages.warning(request, already)
    return redirect("run", pk=decided.context_id)


def _comment_of(gate: Gate, by: Actor) -> str:
    comments = {d.voter_key: d.comment for d in approvals.decisions(gate)}
    return comments[by.key]


def _gate_page(
    request: HttpRequest,
    pk: UUID,
    form: DecisionForm,
    *,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    by = request.user.actor()
    found = approvals.readable(by=by, gate_id=pk)
    light = Run.objects.defer(*UNREAD)
    run = light.select_related("revision__plan", "dry_run").get(pk=found.context_id)
    # A run of an older release has none.
    row = getattr(run, "dry_run", None) if found.subject_kind == RUN else None
    first = first_listed(request)
    context = shown(found, by=by, at=clock.now(), first=first)
    context |= {"run": run, "form": form, "refusal": refusal}
    context |= dry_runs.shown(row)
    context |= _asker(context["subject"]) | _reasons(found, run)
    return page(request, "gates/gate.html", context, status=status)


def _asker(subject: Mapping[str, Any]) -> dict[str, Any]:
    """Return the proposer in the content, and the owner of an agent."""
    proposer = subject.get("proposer") or {}
    owner = subject.get("on_behalf_of", "") if proposer.get("kind") == "agent" else ""
    return {"proposer": proposer, "owner": names_of([owner])[owner]}


def _reasons(gate: Gate, run: Run) -> dict[str, Any]:
    """Return the reasons of the rules, and apart from them those of the plan."""
    document = plans.document(run.revision)
    asked = document.step(gate.step).approval if gate.step else None
    claim = asked.reason if asked else ""
    return {
        "reasons": [reason for reason in gate.reasons if reason != claim],
        "claimed_reason": claim,
        "claimed_description": document.description,
    }
