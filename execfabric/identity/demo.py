"""The demo's people: one per role, signed in at one click, in demo mode only."""

from dataclasses import dataclass

from django.conf import settings

from execfabric.identity.models import User
from execfabric.lib.refusal import Denied
from execfabric.lib.rights import Role


class DemoModeOff(Denied):
    """Signing in without a password is possible in demo mode only."""

    code = "auth.demo_mode_off"


class DemoUserUnknown(Denied):
    """This is not one of the demo's people."""

    code = "auth.demo_user_unknown"


@dataclass(frozen=True)
class DemoUser:
    """One of the demo's people."""

    role: Role
    purpose: str
    """What one can do as this person, for whoever chooses."""

    @property
    def username(self) -> str:
        """The account's name."""
        return f"demo-{self.role}"


USERS = (
    DemoUser(Role.OPERATOR, "Decides what waits at a gate"),
    DemoUser(Role.PROPOSER, "Proposes plans, watches their runs"),
    DemoUser(Role.ADMIN, "Edits and publishes skills"),
    DemoUser(Role.AUDITOR, "Reads and verifies the record"),
)


def offered() -> list[DemoUser]:
    """Whom the sign-in page offers: nobody outside demo mode."""
    if not settings.DEMO_MODE:
        return []
    names = [user.username for user in USERS]
    there = User.objects.filter(username__in=names, is_active=True)
    present = set(there.values_list("username", flat=True))
    return [user for user in USERS if user.username in present]


def account(username: str) -> User:
    """The account of one of the demo's people.

    :raises DemoModeOff: outside demo mode, whoever is asked for
    :raises DemoUserUnknown: for anybody else, and for an account that is missing
    """
    if not settings.DEMO_MODE:
        raise DemoModeOff
    if username not in {user.username for user in USERS}:
        raise DemoUserUnknown
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise DemoUserUnknown
    return user
