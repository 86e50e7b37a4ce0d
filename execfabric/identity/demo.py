"""Demo users: one per role, who sign in with one click, in demo mode only."""

from dataclasses import dataclass

from django.conf import settings

from execfabric.identity.models import User
from execfabric.lib.refusal import Denied
from execfabric.lib.rights import Role


class DemoModeOff(Denied):
    """Cannot sign in without a password: demo mode is off."""

    code = "auth.demo_mode_off"


class DemoUserUnknown(Denied):
    """Unknown demo user."""

    code = "auth.demo_user_unknown"


@dataclass(frozen=True)
class DemoUser:
    role: Role
    purpose: str
    """A description for the sign-in page."""

    @property
    def username(self) -> str:
        return f"demo-{self.role}"


USERS = (
    DemoUser(Role.OPERATOR, "Approves plans and steps, controls runs"),
    DemoUser(Role.PROPOSER, "Proposes plans and watches their runs"),
    DemoUser(Role.ADMIN, "Edits and publishes skills"),
    DemoUser(Role.AUDITOR, "Reads and verifies the audit log"),
)


def offered() -> list[DemoUser]:
    """Return the demo users for the sign-in page; none outside demo mode."""
    if not settings.DEMO_MODE:
        return []
    names = [user.username for user in USERS]
    active = User.objects.filter(username__in=names, is_active=True)
    stored = set(active.values_list("username", flat=True))
    return [user for user in USERS if user.username in stored]


def account(username: str) -> User:
    """Return the account of a demo user.

    :raises DemoModeOff: if demo mode is off
    :raises DemoUserUnknown: if this is not an active demo user
    """
    if not settings.DEMO_MODE:
        raise DemoModeOff
    if username not in {user.username for user in offered()}:
        raise DemoUserUnknown
    return User.objects.get(username=username)
