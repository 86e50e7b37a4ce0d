"""Create agents and tokens, authenticate by token, and record sign-ins."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from audit import services as audit
from execfabric.identity import people
from execfabric.identity.errors import (
    AccountDeactivated,
    AgentExists,
    LifetimeInvalid,
    NameInvalid,
    NotSignedIn,
    TokenUnknown,
)
from execfabric.identity.models import Agent, Token, User
from execfabric.lib.actor import Actor, ActorKind

SIGN_IN = "sign-in"
TOKEN_PREFIX = "ef_"  # noqa: S105  marks our tokens for secret scanners
LONGEST_LABEL = 100
LONGEST_LIFE = 3650


@dataclass(frozen=True)
class Account:
    """The one user or agent that a token speaks for."""

    user: User | None = None
    agent: Agent | None = None

    @property
    def name(self) -> str:
        return str(self.agent) if self.agent else self._person.get_username()

    @property
    def is_active(self) -> bool:
        """Return True if the account, and the owner of an agent, is active."""
        return self._person.is_active and (self.agent is None or self.agent.is_active)

    @property
    def _person(self) -> User:
        person = self.agent.owner if self.agent else self.user
        assert person is not None  # noqa: S101  the constraint token_has_one_holder
        return person


def create_token(
    *, username: str, label: str, by: Actor, at: datetime, days: int | None = None
) -> str:
    """Create a token for a user; return its text, which is not stored.

    :raises AccountUnknown: if no user has that name
    :raises AccountDeactivated: if the user is deactivated
    """
    account = Account(user=people.user_named(username))
    return _issue(account, label=label, by=by, at=at, days=days)


def create_agent_token(
    *, name: str, label: str, by: Actor, at: datetime, days: int | None = None
) -> str:
    """Create a token for an agent; return its text, which is not stored.

    :raises AccountUnknown: if no agent has that name
    :raises AccountDeactivated: if the agent or its owner is deactivated
    """
    account = Account(agent=people.agent_named(name))
    return _issue(account, label=label, by=by, at=at, days=days)


@transaction.atomic
def create_agent(
    *, name: str, owner: str, by: Actor, at: datetime
) -> tuple[Agent, str]:
    """Create an agent of `owner`; return it and the text of its token.

    :raises AccountUnknown: if no user has the name of the owner
    :raises AccountDeactivated: if the owner is deactivated
    :raises AgentExists: if the name exists, with any owner
    """
    person = people.user_named(owner)
    _check_text(name, required=True)
    agent = Agent(name=name, owner=person, created_at=at)
    try:
        with transaction.atomic():
            agent.save()
    except IntegrityError as error:
        sentence = f"Cannot create agent {name!r}: the name exists. Choose another."
        raise AgentExists(sentence) from error
    fact = {"agent": agent.actor().key, "name": name, "owner": person.get_username()}
    people.record("agent.created", fact, by=by, at=at)
    return agent, _issue(Account(agent=agent), label=name, by=by, at=at, days=None)


def holder(text: str, *, at: datetime) -> Actor:
    """Return the holder of a bearer token.

    :raises NotSignedIn: if the token is unknown, expired or revoked, or its holder
        or the owner of the agent is not active
    """
    token = (
        Token.objects.select_related("user", "agent", "agent__owner")
        .filter(sha256=_hash(text), revoked_at__isnull=True)
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=at))
        .first()
    )
    if token is None:
        raise NotSignedIn
    if token.user is not None and token.user.is_active:
        return token.user.actor()
    agent = token.agent
    if agent is not None and agent.is_active and agent.owner.is_active:
        return agent.actor()
    raise NotSignedIn


def tokens_of(by: Actor) -> QuerySet[Token]:
    """Return the tokens that `by` may list and revoke, newest first.

    A user may list their own and those of their agents; the system may list all.
    """
    tokens = Token.objects.select_related("user", "agent", "agent__owner")
    if by.kind is ActorKind.USER:
        tokens = tokens.filter(Q(user_id=by.id) | Q(agent__owner_id=by.id))
    elif by.kind is not ActorKind.SYSTEM:
        tokens = tokens.none()
    return tokens.order_by("-created_at", "-id")


@transaction.atomic
def revoke_token(*, token_id: UUID, by: Actor, at: datetime) -> Token:
    """Revoke a token, so that requests with it are refused. Safe to repeat.

    :raises TokenUnknown: if `by` has no such token
    """
    token = tokens_of(by).filter(pk=token_id).select_for_update(of=("self",)).first()
    if token is None:
        raise TokenUnknown
    if token.revoked_at is None:
        token.revoked_at = at
        token.save(update_fields=["revoked_at"])
        account = Account(user=token.user, agent=token.agent)
        fact = {"token": str(token.pk), "holder": account.name}
        people.record("token.revoked", fact, by=by, at=at)
    return token


def record_sign_in(*, kind: str, username: str, by: Actor, at: datetime) -> None:
    """Record a sign-in, a sign-out or a failed sign-in."""
    with transaction.atomic():
        audit.append(SIGN_IN, [audit.Fact(kind, {"username": username})], by=by, at=at)


@transaction.atomic
def _issue(
    account: Account, *, label: str, by: Actor, at: datetime, days: int | None
) -> str:
    _check_text(label, required=False)
    if days is not None and not 1 <= days <= LONGEST_LIFE:
        raise LifetimeInvalid
    if not account.is_active:
        raise AccountDeactivated(
            f"Cannot create a token: {account.name!r}"
            f"{' or its owner' if account.agent else ''} is deactivated."
            " Activate the account first."
        )
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(
        sha256=_hash(text),
        user=account.user,
        agent=account.agent,
        label=label,
        created_at=at,
        expires_at=at + timedelta(days=days) if days else None,
    )
    is_agent = account.agent is not None
    fact = {"token": str(token.pk), "holder": account.name, "agent": is_agent}
    people.record("token.created", fact, by=by, at=at)
    return text


def _check_text(text: str, *, required: bool) -> None:
    """Check a name or label.

    :raises NameInvalid: if the text is too long, blank or not printable
    """
    if len(text) > LONGEST_LABEL:
        raise NameInvalid(f"Name or label too long (max {LONGEST_LABEL} characters).")
    if not text.isprintable() or (required and not text.strip()):
        raise NameInvalid(f"Invalid name or label {text!r}. Use visible characters.")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
