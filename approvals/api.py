"""Gates for clients: what is asked, of whom, and what people answered.

Deciding is not here: its consequence is the engine's (`orchestration.runs.api`).
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema

from approvals import selectors
from approvals.domain.states import OPEN, GateStatus
from approvals.models import Decision, Gate
from approvals.selectors import StillEligible
from execfabric.accounts.http import ApiRequest, page
from execfabric.lib import canonical

router = Router(tags=["gates"])


class GateRow(Schema):
    """A gate as it stands in a list."""

    id: UUID
    run_id: UUID
    step: str | None
    kind: str
    status: str
    digest: str
    label: str
    risk: str
    reasons: list[str]
    requested_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    url: str


class DecisionOut(Schema):
    """One person's answer."""

    voter: str
    name: str
    approve: bool
    groups: list[str]
    digest: str
    comment: str
    channel: str
    at: datetime


class SeatsOut(Schema):
    """One group that is asked: how many it needs and has, and who may still decide."""

    group: str
    count: int
    have: int
    people: list[str]


class GateOut(GateRow):
    """A gate with the content that an approval covers."""

    subject: dict[str, Any]
    digest_domain: str
    """The digest is SHA-256 of this line, a newline and the subject's RFC 8785 bytes."""
    rev: int
    trace_id: str
    settled_reason: str
    requirements: list[dict[str, Any]]
    excluded: list[dict[str, Any]]
    policy_versions: list[str]
    still_eligible: list[SeatsOut]
    decisions: list[DecisionOut]


class GateList(Schema):
    """Gates, oldest first, and the id to go on behind."""

    items: list[GateRow]
    next: UUID | None


class GateQuery(Schema):
    """Which gates to list."""

    run: UUID | None = None
    status: Literal["open"] | GateStatus | None = None
    after: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 100


@router.get("/gates", response=GateList)
def list_gates(request: ApiRequest, query: Query[GateQuery]) -> GateList:
    """The gates that the holder of the token may see."""
    found = selectors.visible_to(request.auth).defer("subject").order_by("id")
    if query.run:
        found = found.filter(context_id=query.run)
    if query.status:
        wanted = OPEN if query.status == "open" else {query.status}
        found = found.filter(status__in=wanted)
    if query.after:
        found = found.filter(id__gt=query.after)
    rows = list(found[: query.limit])
    full = len(rows) == query.limit
    return GateList(
        items=[GateRow(**row_of(request, gate)) for gate in rows],
        next=rows[-1].pk if full else None,
    )


@router.get("/gates/{uuid:gate_id}", response=GateOut)
def get_gate(request: ApiRequest, gate_id: UUID) -> GateOut:
    """Return one gate with the content that an approval covers.

    Proposers and agents see `[hidden]` for the values of a skill's configuration.
    """
    return shown(request, selectors.readable(by=request.auth, gate_id=gate_id))


def row_of(request: HttpRequest, gate: Gate) -> dict[str, Any]:
    """What every view of a gate states."""
    return {
        "id": gate.pk,
        "run_id": gate.context_id,
        "step": gate.step or None,
        "kind": gate.subject_kind,
        "status": gate.status,
        "digest": gate.digest_hex,
        "label": gate.label,
        "risk": gate.risk,
        "reasons": gate.reasons,
        "requested_at": gate.requested_at,
        "expires_at": gate.expires_at,
        "settled_at": gate.settled_at,
        "url": page(request, "gate", gate.pk),
    }


def shown(request: HttpRequest, gate: Gate) -> GateOut:
    """A gate in full."""
    return GateOut(
        **row_of(request, gate),
        subject=canonical.loads(bytes(gate.subject)),
        digest_domain=gate.digest_domain,
        rev=gate.rev,
        trace_id=gate.trace_id,
        settled_reason=gate.settled_reason,
        requirements=gate.requirements,
        excluded=gate.excluded,
        policy_versions=gate.policy_versions,
        still_eligible=[_seats(seats) for seats in selectors.still_eligible(gate)],
        decisions=[_decision(decision) for decision in selectors.decisions(gate)],
    )


def _seats(seats: StillEligible) -> SeatsOut:
    return SeatsOut(
        group=seats.group, count=seats.count, have=seats.have, people=list(seats.people)
    )


def _decision(decision: Decision) -> DecisionOut:
    return DecisionOut(
        voter=decision.voter_key,
        name=decision.voter_name,
        approve=decision.approve,
        groups=decision.groups,
        digest=bytes(decision.digest).hex(),
        comment=decision.comment,
        channel=decision.channel,
        at=decision.at,
    )
