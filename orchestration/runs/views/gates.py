"""The page of a gate, and the form that decides on it."""

from textwrap import shorten
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from approvals import selectors as approvals
from approvals.models import INPUT, Gate
from approvals.views import content as contents
from approvals.views.gates import shown
from execfabric.identity.models import names_of
from execfabric.lib import clock
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, first_listed, form_on, page, wants_fragment
from orchestration.plans import selectors as plans
from orchestration.plans.domain import form as plan_form
from orchestration.plans.domain import source
from orchestration.plans.forms import InputField, PlanForm, input_fields
from orchestration.runs.control import answers, gates
from orchestration.runs.engine.subjects import RUN
from orchestration.runs.models import Run
from orchestration.runs.pages import run_graph
from orchestration.runs.pages.places import StepPlaces
from orchestration.runs.pages.run_origin import template_of
from orchestration.runs.views import dry_runs

UNREAD = frozenset({"pins", "revision__source"})


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
    """Show a gate; `?from=` sets the first listed step of a long plan.

    An open page asks again with `?seen=`, and gets 204 if nothing has changed.
    """
    if not wants_fragment(request) or "seen" in request.GET:
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
        return _gate_page(request, pk, form, refusal=refusal)
    word = "approved" if approve else "rejected"
    message = f"You {word} “{shorten(decided.label, 100)}”."
    if approve and decided.is_open:
        message += " More approvals are required before it runs."
    messages.success(request, message)
    comments = {one.voter_key: one.comment for one in approvals.decisions(decided)}
    if form.cleaned_data["comment"].strip() != comments[by.key]:
        already = "You had already decided. Your new comment was not stored."
        messages.warning(request, already)
    return redirect("run", pk=decided.context_id)


@form_on("gate", "pk")
def gate_answer(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Answer a step that asks for values; a refusal keeps what was typed."""
    typed = PlanForm(request.POST)
    try:
        answered = answers.answer(
            gate_id=pk,
            by=request.user.actor(),
            digest=request.POST.get("digest", ""),
            values=typed.input_values(),
            channel="page",
            at=clock.now(),
        )
    except Missing:
        raise
    except Refusal as refusal:
        return _gate_page(request, pk, DecisionForm(), refusal=refusal, typed=typed)
    messages.success(request, f"You answered “{shorten(answered.label, 100)}”.")
    return redirect("run", pk=answered.context_id)


def _answer_fields(
    form: dict[str, Any] | None, typed: PlanForm | None, refusal: Refusal | None
) -> list[InputField]:
    """Return the fields of the form of an input step, with what was typed."""
    problems = refusal.details.get("problems", ()) if refusal else ()
    errors = {problem["name"]: problem["message"] for problem in problems}
    values = typed.input_values() if typed else {}
    texts = typed.typed_texts() if typed else None
    return input_fields(form, values, errors, texts)


def _form_of(gate: Gate, subject: dict[str, Any], run: Run) -> dict[str, Any] | None:
    """Return the form that a gate asks for, its properties in the order of the plan.

    Canonical JSON sorts them.
    """
    form: dict[str, Any] | None = subject.get("form")
    if gate.subject_kind != INPUT or form is None:
        return None
    written, _ = plan_form.read(source.parse(run.revision.source))
    step = written.by_id.get(gate.step) if written else None
    order = list((step.form or {}).get("properties", {})) if step else []
    properties = form.get("properties", {})
    ordered = [name for name in order if name in properties]
    names = dict.fromkeys([*ordered, *properties])
    return {**form, "properties": {name: properties[name] for name in names}}


def _gate_page(
    request: HttpRequest,
    pk: UUID,
    form: DecisionForm,
    *,
    typed: PlanForm | None = None,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    by = request.user.actor()
    found = approvals.readable(by=by, gate_id=pk)
    light = Run.objects.defer(*UNREAD)
    run = light.select_related("revision__plan").get(pk=found.context_id)
    # A run of an older release has none.
    row = run.dry_run if found.subject_kind == RUN else None
    first = first_listed(request)
    context = shown(found, by=by, at=clock.now(), first=first)
    is_previewing = row is not None and not row.is_ended
    stamp = f"{found.status}-{len(context['decisions'])}-{is_previewing:d}"
    if request.GET.get("seen") == stamp:
        return HttpResponse(status=204)
    subject = context["subject"]
    proposer = subject.get("proposer") or {}
    owner = subject.get("on_behalf_of", "") if proposer.get("kind") == "agent" else ""
    context |= {
        "run": run,
        "edit_waits": run.gate_before is not None and run.gate_id == found.pk,
        "form": form,
        "fields": _answer_fields(_form_of(found, subject, run), typed, refusal),
        "stamp": stamp,
        "is_previewing": is_previewing,
        "refusal": refusal,
        "template": template_of(run, by) if found.subject_kind == RUN else None,
        "proposer": proposer,
        "owner": names_of([owner])[owner],
        "graph": run_graph.of_gate(found, subject, wanted="graph" in request.GET),
    }
    context |= dry_runs.shown(row) | _reasons(found, run)
    return page(request, "gates/gate.html", context, status=status)


def _reasons(gate: Gate, run: Run) -> dict[str, Any]:
    """Return the reasons of rules and of the plan, separately."""
    document = plans.document(run.revision)
    asked = None
    if gate.step:
        row = run.steps.get(pk=gate.subject_id)
        step = StepPlaces(run).of(row).step
        asked = step.ask or step.approval
    claim = asked.reason if asked else ""
    return {
        "reasons": [reason for reason in gate.reasons if reason != claim],
        "claimed_reason": claim,
        "claimed_description": document.description,
    }
