"""Who acts. Every service takes `by: Actor`; there is no nobody."""

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """The three sorts of identity."""

    USER = "user"  # a person with an account
    AGENT = "agent"  # a named non-human identity with an owner; never decides
    SYSTEM = "system"  # the product itself: keeper, worker, migration


@dataclass(frozen=True)
class Actor:
    """An identity as it acts now, in plain values that can be recorded."""

    kind: ActorKind
    id: str
    """The primary key as text (`7`), or the part's name for the system (`keeper`)."""
    name: str
    owner_id: str = ""
    """For an agent: the user id of the person who answers for it. Else empty."""

    @property
    def key(self) -> str:
        """`user:7`, `agent:3`, `system:keeper`: unique over all kinds."""
        return f"{self.kind}:{self.id}"

    @property
    def owner_key(self) -> str:
        """The key of an agent's owner; else empty."""
        return f"user:{self.owner_id}" if self.owner_id else ""

    @property
    def on_behalf_of(self) -> str:
        """The key of the person whose rights bound this actor's (an agent's owner)."""
        return f"user:{self.owner_id}" if self.kind is ActorKind.AGENT else self.key

    def as_fact(self) -> dict[str, str]:
        """The form that stands in the record; it survives the account."""
        fact = {"kind": str(self.kind), "id": self.id, "name": self.name}
        if self.owner_id:
            fact["owner"] = self.owner_key
        return fact

    @classmethod
    def stored(cls, key: str, name: str, owner_key: str) -> "Actor":
        """The actor with these keys and this name, as it was when they were stored."""
        kind, _, pk = key.partition(":")
        return cls(ActorKind(kind), pk, name, owner_id=owner_key.removeprefix("user:"))


def system(part: str) -> Actor:
    """The product's own part (`keeper`, `worker`, `setup`) as an actor."""
    return Actor(kind=ActorKind.SYSTEM, id=part, name=part)
