"""What a gate asks about: everything that is fixed when it opens."""

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
    """Why somebody may not decide; policies may add reasons of their own."""

    PROPOSER = "proposer"
    EDITOR = "editor"
    AGENT_OWNER = "agent_owner"


@dataclass(frozen=True)
class Exclusion:
    """Somebody who may not decide on a gate."""

    key: str
    why: str

    def as_fact(self) -> dict[str, str]:
        """The form that is stored and recorded."""
        return {"key": self.key, "why": str(self.why)}


@dataclass(frozen=True)
class Subject:
    """The question that a gate puts, with the bytes that an approval covers."""

    kind: str
    """`run` or `step`; free text here."""
    id: UUID
    context_id: UUID
    """What several gates have in common (the run)."""
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
    """Sentences for people: why it is asked."""
    expires_at: datetime
    step: str = ""
    policy_versions: tuple[str, ...] = ()
    risk: str = ""

    def __post_init__(self) -> None:
        if not self.requirements:
            raise RequirementInvalid

    @property
    def digest(self) -> bytes:
        """The 32 bytes that a decision must name."""
        return canonical.digest(self.digest_domain, self.body)


def exclusions(
    *, proposer: Actor, editors: Iterable[Actor] = ()
) -> tuple[Exclusion, ...]:
    """Everybody whom separation of duties keeps from deciding, owners of agents too."""
    found = [Exclusion(proposer.key, Why.PROPOSER)]
    editors = list(editors)
    found += [Exclusion(editor.key, Why.EDITOR) for editor in editors]
    found += [
        Exclusion(actor.on_behalf_of, Why.AGENT_OWNER)
        for actor in (proposer, *editors)
        if actor.kind is ActorKind.AGENT
    ]
    return tuple(dict.fromkeys(found))
