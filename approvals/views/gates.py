"""Views of a gate's content: all of it, one value, or one step."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from approvals import selectors, voters
from approvals.domain import eligibility, seats
from approvals.domain.states import MEANING, GateStatus
from approvals.errors import AlreadyDecided, GateAlreadySettled, GateExpired
from approvals.models import INPUT, Decision, Gate
from approvals.views import content as contents
from approvals.views import subject as subjects
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, page, wants_fragment
from execfabric.web.problems import BytesDownload, json_download


@require_safe
def gate_subject(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Download the exact bytes that the digest covers."""
    found = selectors.readable(by=request.user.actor(), gate_id=pk)
    response = BytesDownload(
        bytes(found.subject), name=f"gate-{pk}.json", content_type="application/json"
    )
    response["X-ExecFabric-Digest"] = found.digest_hex
    return response


@require_safe
def gate_value(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Download one value of the content (`?at=`, a JSON pointer) as JSON."""
    found = selectors.readable(by=request.user.actor(), gate_id=pk)
    pointer = request.GET.get("at", "")
    value = subjects.value_at(subjects.read(found), pointer)
    name = "-".join(["gate", str(pk)[:13], *pointer.split("/")[1:]])
    return json_download(value, f"{name}.json")


@require_safe
def gate_step(request: HttpRequest, pk: UUID, place: int) -> HttpResponse:
    """Show the details of one step of a plan gate, as a fragment or as a page."""
    found = selectors.readable(by=request.user.actor(), gate_id=pk)
    actions = subjects.planned(subjects.read(found), place, place + 1)
    if not actions:
        raise Missing(f"Unknown step {place + 1}.")
    action = actions[0]
    template = "gates/_plan_step.html" if wants_fragment(request) else "gates/step.html"
    context = {"gate": found, "action": action, "blocks": contents.step_blocks(action)}
    return page(request, template, context)


def shown(gate: Gate, *, by: Actor, at: datetime, first: int) -> dict[str, Any]:
    """Return the context of a gate page, with the steps from `first` on."""
    decisions = selectors.decisions(gate)
    eligible = selectors.still_eligible_of({gate: decisions})[gate]
    content = contents.of(gate, first=first)
    return {
        "gate": gate,
        "content": content,
        "subject": content.subject,
        "action": content.action,
        "decisions": decisions,
        "eligible": eligible,
        "have": sum(group.have for group in eligible),
        "need": seats.capacities(gate.required()).total(),
        "meaning": _meaning(gate),
        "hindrance": _hindrance(gate, decisions, by=by, at=at),
    }


def _meaning(gate: Gate) -> str:
    if gate.subject_kind == INPUT and gate.status == GateStatus.APPROVED:
        return "Answered. The values are the output of the step."
    return MEANING[GateStatus(gate.status)]


def _hindrance(
    gate: Gate, given: list[Decision], *, by: Actor, at: datetime
) -> Refusal | None:
    """Return why this person cannot decide; the service checks again when they do."""
    if not gate.is_open:
        return GateAlreadySettled()
    if any(decision.voter_key == by.key for decision in given):
        return AlreadyDecided()
    if gate.expires_at <= at:
        return GateExpired()
    return eligibility.may_decide(
        by,
        voters.standing(by),
        requirements=gate.required(),
        excluded=gate.exclusions(),
    )
