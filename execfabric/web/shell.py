"""The frame of every page: navigation by rights, role, demo flag."""

from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from execfabric.infra import disk
from execfabric.lib.rights import Right, Role, rights_from

THEMES = frozenset({"light", "dark"})


@dataclass(frozen=True)
class Place:
    """A page in the navigation, and the right that shows it."""

    name: str
    label: str
    icon: str
    right: Right | None = None
    """Every signed-in user sees a place without one."""


PLACES = (
    Place("home", "Home", "home"),
    Place("inbox", "Approvals", "inbox", Right.DECIDE),
    Place("runs", "Runs", "runs"),
    Place("plan_new", "New run", "plan", Right.PROPOSE),
    Place("skills", "Skills", "skills"),
    Place("trace", "Audit log", "trace", Right.TRACE),
)
SECTIONS = {
    "gate": "inbox",
    "gate_step": "inbox",
    "run": "runs",
    "step": "runs",
    "step_resolve": "runs",
    "plan_check": "plan_new",
    "plan_dry_run": "plan_new",
    "dry_run": "plan_new",
    "plan_propose": "plan_new",
    "skill": "skills",
    "skill_edit": "skills",
    "skill_version": "skills",
    "trace_event": "trace",
}
"""The place that a page belongs to, if that is another."""


@dataclass(frozen=True)
class Item:
    """One entry of the navigation on this page."""

    name: str
    label: str
    icon: str
    url: str
    current: bool


class Shell:
    """The frame for one request; its queries run only if a page shows the result."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        cookie = request.COOKIES.get("theme", "")
        self.theme = cookie if cookie in THEMES else ""
        self.demo: bool = settings.DEMO_MODE

    @cached_property
    def rights(self) -> frozenset[Right]:
        """Return the rights of the user."""
        return rights_from(self._groups)

    @property
    def role(self) -> str:
        """Return the roles of the user, as words."""
        return ", ".join(sorted(self._groups & set(Role))) or "no role"

    @cached_property
    def nav(self) -> list[Item]:
        """Return the places that the user can open."""
        match = self._request.resolver_match
        page = (match.url_name or "") if match else ""
        section = SECTIONS.get(page, page)
        return [
            Item(
                name=place.name,
                label=place.label,
                icon=place.icon,
                url=reverse(place.name),
                current=place.name == section,
            )
            for place in PLACES
            if (place.right is None or place.right in self.rights) and _exists(place)
        ]

    @property
    def disk_is_low(self) -> bool:
        """Return True if the disk is so full that new runs are refused."""
        return disk.shortage() is not None

    @property
    def _groups(self) -> frozenset[str]:
        user = self._request.user
        return user.group_names if user.is_authenticated else frozenset()


def shell(request: HttpRequest) -> dict[str, Shell]:
    """Add the frame to the context of every template."""
    return {"shell": Shell(request)}


def _exists(place: Place) -> bool:
    try:
        reverse(place.name)
    except NoReverseMatch:
        return False
    return True
