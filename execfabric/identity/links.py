"""One-time links to set a password, for the first admin and for each user.

A link is signed, so that a guess costs no query. Only its hash is stored. It can be
used once, and a newer link replaces it.
"""

import secrets
from datetime import datetime, timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import transaction

from execfabric.identity import people
from execfabric.identity.errors import AccountDeactivated, LinkInvalid, PasswordRefused
from execfabric.identity.models import PasswordLink, User, digest_of
from execfabric.lib.actor import Actor, system
from execfabric.lib.rights import Role

FIRST_ADMIN_LIFE = timedelta(hours=1)
USER_LIFE = timedelta(days=3)
FIRST_ADMIN = system("first-admin-link")


@transaction.atomic
def create_first_admin_link(*, by: Actor, at: datetime) -> str | None:
    """Create the link for the first admin; None if an admin can sign in already."""
    if _admin_can_sign_in():
        return None
    return _create(None, life=FIRST_ADMIN_LIFE, by=by, at=at)


@transaction.atomic
def create_password_link(*, username: str, by: Actor, at: datetime) -> str:
    """Create a link to set the password of a user; it replaces an older link.

    :raises AccountUnknown: if no user has that name
    :raises AccountDeactivated: if the user is deactivated
    """
    user = people.user_named(username, lock=True)
    if not user.is_active:
        raise AccountDeactivated(
            f"Cannot create a link: {username!r} is deactivated. Activate the user first."
        )
    return _create(user, life=USER_LIFE, by=by, at=at)


def opened(text: str, *, at: datetime, lock: bool = False) -> PasswordLink:
    """Return the link if it is still valid.

    :raises LinkInvalid: if it was used, replaced, or has expired
    """
    try:
        _signer().unsign(text)
    except BadSignature as error:
        raise LinkInvalid from error
    links = PasswordLink.objects.select_related("user")
    if lock:
        links = links.select_for_update(of=("self",))
    link = links.filter(
        sha256=digest_of(text), closed_at__isnull=True, expires_at__gt=at
    ).first()
    if link is None or (link.user is not None and not link.user.is_active):
        raise LinkInvalid
    if link.user is None and _admin_can_sign_in():
        raise LinkInvalid
    return link


@transaction.atomic
def use(text: str, *, username: str, password: str, at: datetime) -> User:
    """Set the password with a link; return the user.

    `username` is the name of the first admin; other links have a user.

    :raises LinkInvalid: if the link was used, replaced, or has expired
    :raises PasswordRefused: if the password does not follow the rules
    :raises NameInvalid: if the name of the first admin is invalid
    :raises UserExists: if the name of the first admin exists
    """
    link = opened(text, at=at, lock=True)
    user = link.user or people.create_user(
        username=username, roles=[Role.ADMIN], by=FIRST_ADMIN, at=at
    )
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise PasswordRefused(error.messages) from error
    link.closed_at = at
    link.save(update_fields=["closed_at"])
    people.record("password_link.used", _fact(link), by=user.actor(), at=at)
    people.set_password(user=user, password=password, by=user.actor(), at=at)
    return user


def _create(user: User | None, *, life: timedelta, by: Actor, at: datetime) -> str:
    older = PasswordLink.objects.filter(user=user, closed_at__isnull=True)
    for link in older.select_for_update(of=("self",)):
        link.closed_at = at
        link.save(update_fields=["closed_at"])
        people.record("password_link.replaced", _fact(link), by=by, at=at)
    text = _signer().sign(secrets.token_urlsafe(24))
    link = PasswordLink.objects.create(
        sha256=digest_of(text), user=user, created_at=at, expires_at=at + life
    )
    people.record("password_link.created", _fact(link), by=by, at=at)
    return text


def _admin_can_sign_in() -> bool:
    admins = User.objects.filter(groups__name=str(Role.ADMIN), is_active=True)
    return any(admin.has_usable_password() for admin in admins.only("password"))


def _fact(link: PasswordLink) -> dict[str, str]:
    return {
        "link": str(link.pk),
        "username": str(link.user or ""),
        "expires_at": link.expires_at.isoformat(),
    }


def _signer() -> Signer:
    # The text is part of links that are open: it does not follow the package's name.
    return Signer(salt="execfabric.accounts.password-link")
