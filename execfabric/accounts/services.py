"""Accounts, agents and tokens: making them, and telling who holds one."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Q

from audit import services as audit
from execfabric.accounts.authority import Role
from execfabric.accounts.errors import AccountUnknown, NotSignedIn
from execfabric.accounts.models import Agent, Token, User
from execfabric.lib.actor import Actor

SIGN_IN = "sign-in"
TOKEN_PREFIX = "ef_"  # noqa: S105  marks our tokens for secret scanners


def ensure_roles() -> None:
    """Make the four role groups exist."""
    for role in Role:
        Group.objects.get_or_create(name=str(role))


def create_token(
    *, username: str, label: str, by: Actor, at: datetime, days: int | None = None
) -> str:
    """Make a token for a person; the text is returned once and never stored.

    :raises AccountUnknown: when nobody has that name
    """
    user = User.objects.filter(username=username).first()
    if user is None:
        raise AccountUnknown(f"There is no account named {username}.")
    return _issue(user=user, agent=None, label=label, by=by, at=at, days=days)


@transaction.atomic
def create_agent(
    *, name: str, owner: str, by: Actor, at: datetime
) -> tuple[Agent, str]:
    """Make an agent that answers to `owner`, and its first token.

    :raises AccountUnknown: when nobody has the owner's name
    """
    person = User.objects.filter(username=owner).first()
    if person is None:
        raise AccountUnknown(f"There is no account named {owner}.")
    agent, made = Agent.objects.get_or_create(
        name=name, defaults={"owner": person, "created_at": at}
    )
    if made:
        fact = {"agent": name, "owner": person.get_username()}
        audit.append(SIGN_IN, [audit.Fact("agent.created", fact)], by=by, at=at)
    return agent, _issue(user=None, agent=agent, label=name, by=by, at=at, days=None)


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


@transaction.atomic
def revoke_token(*, token_id: str, by: Actor, at: datetime) -> None:
    """End a token; the next call that carries it is refused."""
    if Token.objects.filter(pk=token_id, revoked_at__isnull=True).update(revoked_at=at):
        fact = {"token": token_id}
        audit.append(SIGN_IN, [audit.Fact("token.revoked", fact)], by=by, at=at)


def record_sign_in(*, kind: str, username: str, by: Actor, at: datetime) -> None:
    """Put a sign-in, a sign-out or a failed try into the record."""
    with transaction.atomic():
        audit.append(SIGN_IN, [audit.Fact(kind, {"username": username})], by=by, at=at)


@transaction.atomic
def _issue(
    *,
    user: User | None,
    agent: Agent | None,
    label: str,
    by: Actor,
    at: datetime,
    days: int | None,
) -> str:
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(
        sha256=_hash(text),
        user=user,
        agent=agent,
        label=label,
        created_at=at,
        expires_at=at + timedelta(days=days) if days else None,
    )
    holder_name = user.get_username() if user else str(agent)
    fact = {"token": str(token.pk), "holder": holder_name, "agent": agent is not None}
    audit.append(SIGN_IN, [audit.Fact("token.created", fact)], by=by, at=at)
    return text


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
