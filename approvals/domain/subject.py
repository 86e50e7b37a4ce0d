"""The subject of a gate: everything that is fixed when it opens."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from approvals.domain.seats import Requirement
from approvals.errors import RequirementInvalid
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, ActorKind


class Why(StrEnum):
    """Why a person cannot decide; policies can add other reasons."""

    PROPOSER = "proposer"
    EDITOR = "editor"
    AGENT_OWNER = "agent_owner"


@dataclass(frozen=True)
class Exclusion:
    """A person or agent that cannot decide on a gate."""

    key: str
    why: str

    def as_fact(self) -> dict[str, str]:
        """Return the stored form."""
        return {"key": self.key, "why": str(self.why)}


@dataclass(frozen=True)
class Subject:
    """The content of a gate, with the exact bytes that an approval covers."""

    kind: str
    """`run` or `step`; free text here."""
    id: UUID
    context_id: UUID
    """The run that its gates belong to."""
    stream: str
    """The key of the audit stream that its events go to."""
    trace_id: str
    label: str
    body: bytes
    """The canonical bytes: what is shown, hashed and executed."""
    digest_domain: str
    requirements: tuple[Requirement, ...]
    excluded: tuple[Exclusion, ...]
    reasons: tuple[str, ...]
    """Sentences that say why an approval is required."""
    expires_at: datetime
    step: str = ""
    policy_versions: tuple[str, ...] = ()
    risk: str = ""

    def __post_init__(self) -> None:
        if not self.requirements:
            raise RequirementInvalid

    @property
    def digest(self) -> bytes:
        """Return the 32 bytes that a decision must name."""
        return canonical.digest(self.digest_domain, self.body)


def exclusions(
    *, proposer: Actor, editors: Iterable[Actor] = ()
) -> tuple[Exclusion, ...]:
    """List who cannot decide: proposer, editors, and the owners of their agents."""
    found = [Exclusion(proposer.key, Why.PROPOSER)]
    editors = list(editors)
    found += [Exclusion(editor.key, Why.EDITOR) for editor in editors]
    found += [
        Exclusion(actor.on_behalf_of, Why.AGENT_OWNER)
        for actor in (proposer, *editors)
        if actor.kind is ActorKind.AGENT
    ]
    return tuple(dict.fromkeys(found))
