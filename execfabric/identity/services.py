"""Agents, tokens and sign-ins: making tokens, and telling who holds one."""

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
    AccountInactive,
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
        """The name of the account."""
        return str(self.agent) if self.agent else self._person.get_username()

    @property
    def is_active(self) -> bool:
        """True if the account, and for an agent its owner, is active."""
        return self._person.is_active and (self.agent is None or self.agent.is_active)

    @property
    def _person(self) -> User:
        person = self.agent.owner if self.agent else self.user
        assert person is not None  # noqa: S101  the constraint token_has_one_holder
        return person


def create_token(
    *, username: str, label: str, by: Actor, at: datetime, days: int | None = None
) -> str:
    """Create a token for a user; the text is returned once and never stored.

    :raises AccountUnknown: when no user has that name
    :raises AccountInactive: when the user is deactivated
    """
    account = Account(user=people.user_named(username))
    return _issue(account, label=label, by=by, at=at, days=days)


def create_agent_token(
    *, name: str, label: str, by: Actor, at: datetime, days: int | None = None
) -> str:
    """Create another token for an agent; the text is returned once and never stored.

    :raises AccountUnknown: when no agent has that name
    :raises AccountInactive: when the agent or its owner is deactivated
    """
    account = Account(agent=people.agent_named(name))
    return _issue(account, label=label, by=by, at=at, days=days)


@transaction.atomic
def create_agent(
    *, name: str, owner: str, by: Actor, at: datetime
) -> tuple[Agent, str]:
    """Create an agent that answers to `owner`, and its first token.

    :raises AccountUnknown: when no user has the owner's name
    :raises AccountInactive: when the owner is deactivated
    :raises AgentExists: when the name is taken, whoever owns that agent
    """
    person = people.user_named(owner)
    _check_text(name, required=True)
    agent = Agent(name=name, owner=person, created_at=at)
    try:
        with transaction.atomic():
            agent.save()
    except IntegrityError as error:
        sentence = f"An agent named {name} already exists. Choose another name."
        raise AgentExists(sentence) from error
    fact = {"agent": agent.actor().key, "name": name, "owner": person.get_username()}
    people.record("agent.created", fact, by=by, at=at)
    return agent, _issue(Account(agent=agent), label=name, by=by, at=at, days=None)


def holder(text: str, *, at: datetime) -> Actor:
    """Who holds this bearer token now.

    :raises NotSignedIn: when it is unknown, expired or revoked, or its holder
        (or, for an agent, the owner) is not active
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

    A person has their own and those of their agents; the system has all.
    """
    found = Token.objects.select_related("user", "agent", "agent__owner")
    if by.kind is ActorKind.USER:
        found = found.filter(Q(user_id=by.id) | Q(agent__owner_id=by.id))
    elif by.kind is not ActorKind.SYSTEM:
        found = found.none()
    return found.order_by("-created_at", "-id")


@transaction.atomic
def revoke_token(*, token_id: UUID, by: Actor, at: datetime) -> Token:
    """Revoke a token; the next call that carries it is refused. Safe to repeat.

    :raises TokenUnknown: when there is no such token for `by`
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
    """Put a sign-in, a sign-out or a failed try into the record."""
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
        raise AccountInactive(
            f"{account.name} or its owner is deactivated."
            if account.agent
            else f"{account.name} is deactivated."
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
    """Refuse what the column cannot store and a reader cannot see.

    :raises NameInvalid: when the text is too long, blank or not printable
    """
    if len(text) > LONGEST_LABEL:
        raise NameInvalid(f"A name or label has at most {LONGEST_LABEL} characters.")
    if not text.isprintable() or (required and not text.strip()):
        raise NameInvalid(f"{text!r} is not a valid name or label.")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
