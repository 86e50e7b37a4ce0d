"""Users, their roles, and the rights of roles on objects.

Only management commands and the setup call this module. Each change is an event.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from guardian.core import ObjectPermissionChecker
from guardian.shortcuts import assign_perm, remove_perm

from audit import services as audit
from audit.services import Fact
from execfabric.identity.errors import (
    AccountUnknown,
    EmailInvalid,
    NameInvalid,
    RightMissing,
    UserExists,
)
from execfabric.identity.models import Agent, User
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import Role

ACCOUNTS = "accounts"
"""The stream of accounts, roles, object rights, tokens and password links."""


def record(kind: str, fact: Mapping[str, object], *, by: Actor, at: datetime) -> None:
    audit.append(ACCOUNTS, [Fact(kind, dict(fact))], by=by, at=at)


@transaction.atomic
def ensure_roles(*, by: Actor, at: datetime) -> None:
    _require_system(by)
    for role in Role:
        _, created = Group.objects.get_or_create(name=str(role))
        if created:
            record("group.created", {"group": str(role)}, by=by, at=at)


@transaction.atomic
def create_user(
    *, username: str, roles: Collection[Role], by: Actor, at: datetime, email: str = ""
) -> User:
    """Create a user without a password.

    :raises NameInvalid: if the name has invalid characters
    :raises EmailInvalid: if the address is not valid
    :raises UserExists: if the name exists, in upper or lower case
    """
    _require_system(by)
    username = User.normalize_username(username)
    user = User(username=username, email=email)
    user.set_unusable_password()
    _check_fields(user)
    duplicate = UserExists(
        f"Cannot create user {username!r}: the name exists. Choose another."
    )
    if User.objects.filter(username__iexact=username).exists():
        raise duplicate
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        raise duplicate from error
    record("user.created", _fact(user), by=by, at=at)
    _put_in_roles(user, roles, by=by, at=at)
    return user


@transaction.atomic
def set_roles(
    *, username: str, roles: Collection[Role], by: Actor, at: datetime
) -> User:
    """Set the roles of a user; other groups stay.

    :raises AccountUnknown: if no user has that name
    """
    _require_system(by)
    user = user_named(username, lock=True)
    _put_in_roles(user, roles, by=by, at=at)
    return user


@transaction.atomic
def set_active(
    *, name: str, active: bool, is_agent: bool, by: Actor, at: datetime
) -> None:
    """Activate or deactivate a user or an agent, with their tokens.

    The sessions and agents of a deactivated user stop working, too.

    :raises AccountUnknown: if no user or agent has that name
    """
    _require_system(by)
    account = agent_named(name, lock=True) if is_agent else user_named(name, lock=True)
    if account.is_active != active:
        account.is_active = active
        account.save(update_fields=["is_active"])
        verb = "activated" if active else "deactivated"
        record(f"{account.actor().kind}.{verb}", _fact(account), by=by, at=at)


@transaction.atomic
def set_password(*, user: User, password: str, by: Actor, at: datetime) -> None:
    """Set a validated password; the user's other sessions end."""
    user.set_password(password)
    user.save(update_fields=["password"])
    record("password.set", _fact(user), by=by, at=at)


@transaction.atomic
def set_object_rights(
    target: models.Model,
    rights: Mapping[str, Collection[Role]],
    *,
    label: str,
    by: Actor,
    at: datetime,
) -> None:
    """Grant each right on `target` to exactly these roles; record each change.

    `label` identifies the object in events, for example `skill:files`.
    """
    _require_system(by)
    facts = []
    for role in Role:
        group = Group.objects.get(name=str(role))
        held = set(ObjectPermissionChecker(group).get_perms(target))
        for right, roles in rights.items():
            if (role in roles) == (right in held):
                continue
            change = assign_perm if role in roles else remove_perm
            change(right, group, target)
            kind = "right.granted" if role in roles else "right.revoked"
            facts.append(Fact(kind, {"right": right, "group": str(role), "on": label}))
    audit.append(ACCOUNTS, facts, by=by, at=at)


def user_named(username: str, *, lock: bool = False) -> User:
    """Return the user with this name.

    :raises AccountUnknown: if there is none
    """
    users = User.objects.select_for_update() if lock else User.objects
    user = users.filter(username=username).first() if "\0" not in username else None
    if user is None:
        raise AccountUnknown(f"Unknown user {username!r}.")
    return user


def agent_named(name: str, *, lock: bool = False) -> Agent:
    """Return the agent with this name, and its owner.

    :raises AccountUnknown: if there is none
    """
    agents = Agent.objects.select_for_update(of=("self",)) if lock else Agent.objects
    named = agents.select_related("owner").filter(name=name)
    agent = named.first() if "\0" not in name else None
    if agent is None:
        raise AccountUnknown(f"Unknown agent {name!r}.")
    return agent


def _put_in_roles(
    user: User, roles: Collection[Role], *, by: Actor, at: datetime
) -> None:
    known = {str(role) for role in Role}
    before = known.intersection(user.groups.values_list("name", flat=True))
    after = {str(role) for role in roles}
    if before == after:
        return
    user.groups.remove(*Group.objects.filter(name__in=before - after))
    user.groups.add(*Group.objects.filter(name__in=after - before))
    fact = {**_fact(user), "before": sorted(before), "after": sorted(after)}
    record("user.roles_changed", fact, by=by, at=at)


def _require_system(by: Actor) -> None:
    if by.kind is not ActorKind.SYSTEM:
        raise RightMissing(
            "Cannot change accounts here. Use the management commands on the server."
        )


def _check_fields(user: User) -> None:
    try:
        user.clean_fields()
    except ValidationError as error:
        if "username" not in error.message_dict:
            raise EmailInvalid(f"Invalid email address {user.email!r}.") from error
        problems = " ".join(error.message_dict["username"])
        sentence = f"Cannot create user {user.username!r}: {problems}"
        raise NameInvalid(sentence) from error


def _fact(account: User | Agent) -> dict[str, str]:
    key = account.actor().key
    if isinstance(account, Agent):
        return {"agent": key, "name": account.name}
    return {"user": key, "username": account.get_username()}
