"""Create agents and tokens, and authenticate by token."""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from execfabric.identity import people
from execfabric.identity.errors import (
    AccountDeactivated,
    AgentExists,
    LifetimeInvalid,
    NameInvalid,
    NotSignedIn,
    TokenUnknown,
)
from execfabric.identity.models import Agent, Token, User, digest_of
from execfabric.lib.actor import Actor, ActorKind

TOKEN_PREFIX = "ef_"  # noqa: S105  marks our tokens for secret scanners
LONGEST_LABEL = 100
LONGEST_LIFE = 3650


@transaction.atomic
def create_token(
    *,
    holder: User | Agent,
    label: str,
    by: Actor,
    at: datetime,
    days: int | None = None,
) -> str:
    """Create a token; return its text, which is not stored.

    :raises NameInvalid: if the label is too long or not printable
    :raises LifetimeInvalid: if it would be valid for too many days
    :raises AccountDeactivated: if the holder, or the owner of the agent, is deactivated
    """
    _check_text(label, required=False)
    if days is not None and not 1 <= days <= LONGEST_LIFE:
        raise LifetimeInvalid
    agent = holder if isinstance(holder, Agent) else None
    if not holder.can_act:
        raise AccountDeactivated(
            f"Cannot create a token: {str(holder)!r}"
            f"{' or its owner' if agent else ''} is deactivated."
            " Activate the account first."
        )
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(
        sha256=digest_of(text),
        user=None if isinstance(holder, Agent) else holder,
        agent=agent,
        label=label,
        created_at=at,
        expires_at=at + timedelta(days=days) if days else None,
    )
    fact = {"token": str(token.pk), "holder": str(holder), "agent": agent is not None}
    people.record("token.created", fact, by=by, at=at)
    return text


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
    return agent, create_token(holder=agent, label=name, by=by, at=at)


def holder(text: str, *, at: datetime) -> Actor:
    """Return the holder of a bearer token.

    :raises NotSignedIn: if the token is unknown, expired or revoked, or its holder
        or the owner of the agent is not active
    """
    token = (
        Token.objects.select_related("user", "agent", "agent__owner")
        .filter(sha256=digest_of(text), revoked_at__isnull=True)
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=at))
        .first()
    )
    if token is None or not token.holder.can_act:
        raise NotSignedIn
    return token.holder.actor()


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
        fact = {"token": str(token.pk), "holder": str(token.holder)}
        people.record("token.revoked", fact, by=by, at=at)
    return token


def _check_text(text: str, *, required: bool) -> None:
    """Check a name or label.

    :raises NameInvalid: if the text is too long, blank or not printable
    """
    if len(text) > LONGEST_LABEL:
        raise NameInvalid(f"Name or label too long (max {LONGEST_LABEL} characters).")
    if not text.isprintable() or (required and not text.strip()):
        raise NameInvalid(f"Invalid name or label {text!r}. Use visible characters.")
