"""The actor of each action. Every service takes `by: Actor`."""

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """The kind of an identity."""

    USER = "user"  # a person with an account
    AGENT = "agent"  # a named non-human identity with an owner; never decides
    SYSTEM = "system"  # a part of the product: keeper, worker, migration


@dataclass(frozen=True)
class Actor:
    """A person, an agent or a part of the product, in plain values."""

    kind: ActorKind
    id: str
    """The primary key as text (`7`), or the name of a part (`keeper`)."""
    name: str
    owner_id: str = ""
    """The user id of an agent's owner; else empty."""

    @property
    def key(self) -> str:
        """Unique key over all kinds: `user:7`, `agent:3`, `system:keeper`."""
        return f"{self.kind}:{self.id}"

    @property
    def owner_key(self) -> str:
        """Key of an agent's owner; else empty."""
        return f"user:{self.owner_id}" if self.owner_id else ""

    @property
    def on_behalf_of(self) -> str:
        """Key of the person whose rights limit this actor's rights."""
        return f"user:{self.owner_id}" if self.kind is ActorKind.AGENT else self.key

    def as_fact(self) -> dict[str, str]:
        """Return the form that events store."""
        fact = {"kind": str(self.kind), "id": self.id, "name": self.name}
        if self.owner_id:
            fact["owner"] = self.owner_key
        return fact

    @classmethod
    def stored(cls, key: str, name: str, owner_key: str) -> "Actor":
        """Restore an actor from its stored keys and name."""
        kind, _, pk = key.partition(":")
        return cls(ActorKind(kind), pk, name, owner_id=owner_key.removeprefix("user:"))


def system(part: str) -> Actor:
    """Return a part of the product, such as `keeper`, as an actor."""
    return Actor(kind=ActorKind.SYSTEM, id=part, name=part)
