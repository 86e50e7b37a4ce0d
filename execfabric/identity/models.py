"""Users, agents, their tokens, and password links."""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.functional import cached_property

from execfabric.infra.fields import Uuid7Key
from execfabric.lib.actor import Actor, ActorKind


class User(AbstractUser):
    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(
                Lower("username"), name="user_name_is_unique_in_any_case"
            )
        ]

    @property
    def can_act(self) -> bool:
        return self.is_active

    def actor(self) -> Actor:
        return Actor(kind=ActorKind.USER, id=str(self.pk), name=self.get_username())

    @cached_property
    def group_names(self) -> frozenset[str]:
        """Return the groups, cached for a request; services read them again."""
        return frozenset(self.groups.values_list("name", flat=True))


class Agent(models.Model):
    """A named non-human identity, which can propose and read but not decide."""

    name = models.CharField(max_length=100, unique=True)
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="agents")
    """The responsible user, whose rights limit those of the agent."""
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name

    @property
    def can_act(self) -> bool:
        return self.is_active and self.owner.is_active

    def actor(self) -> Actor:
        return Actor(
            kind=ActorKind.AGENT,
            id=str(self.pk),
            name=self.name,
            owner_id=str(self.owner_id),
        )


class Token(models.Model):
    """A bearer token of a user or an agent, stored as a hash.

    Neither allauth nor Django Ninja has tokens with expiry, revocation and an agent as
    their holder.
    """

    id = Uuid7Key()
    sha256 = models.BinaryField(max_length=32, unique=True)
    label = models.CharField(max_length=100, blank=True)
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, related_name="tokens"
    )
    agent = models.ForeignKey(
        Agent, on_delete=models.CASCADE, null=True, related_name="tokens"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="token_has_one_holder",
                condition=Q(user__isnull=False, agent__isnull=True)
                | Q(user__isnull=True, agent__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.label or 'token'} of {self.holder}"

    @property
    def holder(self) -> User | Agent:
        holder = self.user or self.agent
        assert holder is not None  # noqa: S101  the constraint token_has_one_holder
        return holder

    def holder_name(self) -> str:
        """Return `user:NAME` or `agent:NAME`."""
        return f"{self.holder.actor().kind}:{self.holder}"

    def state(self, at: datetime) -> str:
        """Return `valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        expired = self.expires_at is not None and self.expires_at <= at
        return "expired" if expired else "valid"


class PasswordLink(models.Model):
    """A one-time link to set a password, stored as a hash.

    Without a user, it creates the account of the first admin.
    """

    id = Uuid7Key()
    sha256 = models.BinaryField(max_length=32, unique=True)
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, related_name="password_links"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    """The time when it was used or replaced."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_open_link_per_user",
                fields=["user"],
                condition=Q(closed_at__isnull=True),
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return f"password link of {self.user or 'the first admin'}"


def digest_of(text: str) -> bytes:
    """Return the hash that is stored for a token or a link."""
    return hashlib.sha256(text.encode()).digest()


def names_of(keys: Iterable[str]) -> dict[str, str]:
    """Return the current names of users and agents by their keys (`user:7`).

    The name of a key without an account is the key itself.
    """
    names = {key: key for key in keys}
    ids: dict[str, set[str]] = {"user": set(), "agent": set()}
    for kind, _, pk in (key.partition(":") for key in names):
        ids.setdefault(kind, set()).add(pk)
    people = User.objects.filter(pk__in=ids["user"]) if ids["user"] else ()
    agents = Agent.objects.filter(pk__in=ids["agent"]) if ids["agent"] else ()
    names |= {f"user:{user.pk}": user.get_username() for user in people}
    return names | {f"agent:{agent.pk}": agent.name for agent in agents}
