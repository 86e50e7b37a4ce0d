"""The API for reading gates; decisions are in `orchestration.runs.api`."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Field, Query, Router, Schema

from approvals import selectors
from approvals.domain.states import OPEN, GateStatus
from approvals.models import Decision, Gate
from approvals.selectors import StillEligible
from execfabric.identity.http import ApiRequest, page
from execfabric.identity.paging import PageQuery, page_of
from execfabric.lib import canonical

router = Router(tags=["gates"])


class GateRow(Schema):
    """A gate in a list."""

    id: UUID
    run_id: UUID = Field(alias="context_id")
    step: str | None
    kind: str = Field(alias="subject_kind")
    status: str
    digest: str = Field(alias="digest_hex")
    label: str
    risk: str
    reasons: list[str]
    requested_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    url: str

    @staticmethod
    def resolve_step(gate: Gate) -> str | None:
        return gate.step or None

    @staticmethod
    def resolve_url(gate: Gate, context: dict[str, Any]) -> str:
        return page(context["request"], "gate", gate.pk)


class DecisionOut(Schema):
    """The decision of one person."""

    voter: str = Field(alias="voter_key")
    name: str = Field(alias="voter_name")
    approve: bool
    groups: list[str]
    digest: str
    comment: str
    channel: str
    at: datetime

    @staticmethod
    def resolve_digest(decision: Decision) -> str:
        return bytes(decision.digest).hex()


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
    still_eligible: list[StillEligible]
    decisions: list[DecisionOut]

    @staticmethod
    def resolve_subject(gate: Gate) -> Any:
        return canonical.loads(bytes(gate.subject))

    @staticmethod
    def resolve_still_eligible(gate: Gate) -> list[StillEligible]:
        return selectors.still_eligible(gate)

    @staticmethod
    def resolve_decisions(gate: Gate) -> list[Decision]:
        return selectors.decisions(gate)


class GateList(Schema):
    """Gates, oldest first, and the id after which the next page starts."""

    items: list[GateRow]
    next: UUID | None


class GateQuery(PageQuery):
    """The filters for a list of gates."""

    run: UUID | None = None
    status: Literal["open"] | GateStatus | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 100


@router.get("/gates", response=GateList)
def list_gates(request: ApiRequest, query: Query[GateQuery]) -> dict[str, Any]:
    """List the gates that the holder of the token can see."""
    found = selectors.visible_to(request.auth).defer("subject")
    if query.run:
        found = found.filter(context_id=query.run)
    if query.status:
        wanted = OPEN if query.status == "open" else {query.status}
        found = found.filter(status__in=wanted)
    return page_of(found, query)


@router.get("/gates/{uuid:gate_id}", response=GateOut)
def get_gate(request: ApiRequest, gate_id: UUID) -> Gate:
    """Return one gate with the content that an approval covers.

    Proposers and agents see `[hidden]` for the values of a skill's configuration.
    """
    return selectors.readable(by=request.auth, gate_id=gate_id)
