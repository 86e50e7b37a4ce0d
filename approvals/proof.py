"""Prove an approval from its decisions.

A gate's status is a claim. Before anything runs, the claim is checked against who
decided, when, on which content, and whether they may still decide.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from approvals.domain import verdict
from approvals.domain.eligibility import Standing
from approvals.domain.states import GateEvent, GateStatus
from approvals.models import INPUT, Decision, Gate
from approvals.voters import ballot


class Flaw(StrEnum):
    NOT_APPROVED = "not_approved"
    EXPIRED = "expired"
    SUBJECT_TAMPERED = "subject_tampered"
    DIGEST_DIFFERS = "digest_differs"
    DECISION_DIGEST_DIFFERS = "decision_digest_differs"
    DECIDED_OUT_OF_TIME = "decided_out_of_time"
    APPROVERS_CHANGED = "approvers_changed"


SENTENCES: dict[Flaw, str] = {
    Flaw.NOT_APPROVED: "The gate is not approved.",
    Flaw.EXPIRED: "The approval has expired.",
    Flaw.SUBJECT_TAMPERED: "The stored content of the approval was changed.",
    Flaw.DIGEST_DIFFERS: "The approval covers other content.",
    Flaw.DECISION_DIGEST_DIFFERS: "A decision was made on other content.",
    Flaw.DECIDED_OUT_OF_TIME: "A decision was made outside the approval's time.",
    Flaw.APPROVERS_CHANGED: (
        "The recorded decisions of people who may still decide are not enough."
    ),
}


@dataclass(frozen=True)
class Unproven:
    """A flaw in an approval, and the digest that does not match."""

    flaw: Flaw
    found: bytes

    @property
    def sentence(self) -> str:
        return SENTENCES[self.flaw]


@dataclass(frozen=True)
class Held:
    """A gate with its decisions, and the active users who decided, by key."""

    gate: Gate
    decisions: list[Decision]
    people: dict[str, Standing]

    def event(self) -> GateEvent | None:
        """Return the event that the decisions amount to now, if any."""
        return verdict.of(
            [ballot(decision, self.people) for decision in self.decisions],
            requirements=self.gate.required(),
            excluded=self.gate.excluded_keys(),
            is_one_enough=self.gate.subject_kind == INPUT,
        )

    def unproven(self, *, digest: bytes, at: datetime) -> Unproven | None:
        """Return why this approval does not cover `digest` now, or None."""
        return self._gate_flaw(digest, at) or self._decision_flaw()

    def _gate_flaw(self, digest: bytes, at: datetime) -> Unproven | None:
        gate, actual = self.gate, self.gate.actual_digest()
        if gate.status != GateStatus.APPROVED:
            return Unproven(Flaw.NOT_APPROVED, digest)
        if at >= gate.expires_at:
            return Unproven(Flaw.EXPIRED, digest)
        if actual != bytes(gate.digest):
            return Unproven(Flaw.SUBJECT_TAMPERED, actual)
        if digest != actual:
            return Unproven(Flaw.DIGEST_DIFFERS, digest)
        return None

    def _decision_flaw(self) -> Unproven | None:
        gate, digest = self.gate, bytes(self.gate.digest)
        for decision in self.decisions:
            if bytes(decision.digest) != digest:
                found = bytes(decision.digest)
                return Unproven(Flaw.DECISION_DIGEST_DIFFERS, found)
            if not gate.requested_at <= decision.at < gate.expires_at:
                return Unproven(Flaw.DECIDED_OUT_OF_TIME, digest)
        if self.event() is not GateEvent.APPROVED:
            return Unproven(Flaw.APPROVERS_CHANGED, digest)
        return None
