"""The frame of every page: navigation by rights, role, demo flag."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

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
    """None if every signed-in user sees the place."""


PLACES = (
    Place("home", "Home", "home"),
    Place("inbox", "Approvals", "inbox", Right.DECIDE),
    Place("attention", "Attention", "warn"),
    Place("runs", "Runs", "runs"),
    Place("plan_new", "New run", "plan", Right.PROPOSE),
    Place("plans", "Plans", "file"),
    Place("artifacts", "Artifacts", "artifact"),
    Place("schedules", "Schedules", "clock"),
    Place("skills", "Skills", "skills"),
    Place("trace", "Audit log", "trace", Right.TRACE),
)
SECTIONS = {
    "gate": "inbox",
    "gate_step": "inbox",
    "failures": "attention",
    "run": "runs",
    "step": "runs",
    "step_resolve": "runs",
    "stops": "runs",
    "stop_set": "runs",
    "stop_lift": "runs",
    "step_lines": "runs",
    "plan_check": "plan_new",
    "plan_dry_run": "plan_new",
    "dry_run": "plan_new",
    "plan_propose": "plan_new",
    "plan_save": "plan_new",
    "plan": "plans",
    "plan_start": "plans",
    "plan_rights": "plans",
    "plan_diff": "plans",
    "artifact": "artifacts",
    "named_artifact": "artifacts",
    "artifact_archive": "artifacts",
    "artifact_fork": "artifacts",
    "schedule": "schedules",
    "schedule_new": "schedules",
    "schedule_edit": "schedules",
    "schedule_act": "schedules",
    "events": "schedules",
    "event": "schedules",
    "hooks": "schedules",
    "hook": "schedules",
    "hook_new": "schedules",
    "hook_edit": "schedules",
    "hook_act": "schedules",
    "hook_rotate": "schedules",
    "skill": "skills",
    "skill_edit": "skills",
    "skill_version": "skills",
    "trace_event": "trace",
}
"""The place of a page that has no navigation entry of its own."""


class Shell:
    """The frame for one request; its queries run only if a page shows the result."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        cookie = request.COOKIES.get("theme", "")
        self.theme = cookie if cookie in THEMES else ""
        self.demo: bool = settings.DEMO_MODE

    @property
    def role(self) -> str:
        return ", ".join(sorted(self._groups & set(Role))) or "no role"

    @property
    def nav(self) -> list[Place]:
        rights = rights_from(self._groups)
        return [place for place in PLACES if place.right in {None, *rights}]

    @property
    def section(self) -> str:
        """Return the name of the place that this page belongs to."""
        match = self._request.resolver_match
        page = (match.url_name or "") if match else ""
        return SECTIONS.get(page, page)

    @property
    def disk_is_low(self) -> bool:
        """Return True if the disk is so full that new runs are refused."""
        return disk.shortage() is not None

    @property
    def _groups(self) -> frozenset[str]:
        user = self._request.user
        return user.group_names if user.is_authenticated else frozenset()


def shell(request: HttpRequest) -> dict[str, Shell]:
    return {"shell": Shell(request)}
