"""Set up the demo: users, a data set, configured skills, and one proposed run.

The data set lists the Python packages installed here, from their metadata. Nothing is
downloaded.
"""

import csv
import json
import secrets
import subprocess
from datetime import datetime
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from execfabric.identity import people
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.refusal import Denied
from execfabric.lib.rights import Role
from orchestration.plans import examples
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.services import rights, saving
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from orchestration.skills.models import Skill
from orchestration.skills.services import registry
from orchestration.triggers.services import hooks, schedules
from orchestration.triggers.services.hooks import HookSettings
from orchestration.triggers.services.schedules import ScheduleSettings

DEMO = system("demo")
"""The actor that configures the skills, which one admin may not do alone."""


class DemoNotAllowed(Denied):
    """Cannot set up the demo: demo mode is off. Set EXECFABRIC_DEMO=true."""

    code = "demo.off"


class Command(BaseCommand):
    help = "Set up the demo, if EXECFABRIC_DEMO=true. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO_MODE:
            raise DemoNotAllowed
        at, folder = clock.now(), settings.DATA_DIR / "demo"
        users = _users(at=at)
        _inventory(folder / "inbox")
        _infrastructure(folder / "inbox" / "infrastructure")
        _repository(folder / "repository")
        (folder / "published").mkdir(parents=True, exist_ok=True)
        _configure(folder, at=at)
        if Run.objects.exists():
            self.stdout.write("The demo is set up.")
            return
        text = examples.text("publish-package-report")
        by, inputs = users[Role.PROPOSER].actor(), {"minimum": 100_000}
        run = proposals.propose(text=text, inputs=inputs, by=by, at=at)
        plan = run.revision.plan.slug
        for role in (Role.PROPOSER, Role.OPERATOR, Role.ADMIN):
            rights.grant(
                slug=plan, right=PlanRight.START, group=str(role), by=DEMO, at=at
            )
        for text in examples.pack_texts():
            saving.save_plan(text=text, by=by, at=at)
        monthly = ScheduleSettings(
            name="Monthly package report",
            cron="17 6 1 * *",
            zone="Europe/Berlin",
            inputs=inputs,
        )
        schedules.create(slug=plan, settings=monthly, by=by, at=at)
        on_change = HookSettings(
            name="Packages changed", mapping={"minimum": "/package/minimum"}
        )
        hooks.create(slug=plan, settings=on_change, by=by, at=at)
        self.stdout.write(
            f"The demo is set up. Run {run.id} waits for approval of its plan."
        )


def _users(*, at: datetime) -> dict[Role, User]:
    """Create one user per role; store their passwords for the sign-in page."""
    store = settings.DATA_DIR / "run" / "demo.json"
    passwords: dict[str, str] = {}
    if store.exists():
        entries = json.loads(store.read_text(encoding="utf-8"))
        passwords = {entry["role"]: entry["password"] for entry in entries}
    users, entries = {}, []
    for role in map(str, Role):
        name, password = f"demo-{role}", passwords.get(role) or secrets.token_urlsafe(9)
        users[Role(role)] = _user(name, role, password, at=at)
        entries.append({"username": name, "password": password, "role": role})
    store.parent.mkdir(parents=True, exist_ok=True)
    store.touch(mode=0o600)
    store.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return users


def _user(name: str, role: str, password: str, *, at: datetime) -> User:
    user = User.objects.filter(username=name).first()
    if user is None:
        user = people.create_user(username=name, roles=[Role(role)], by=DEMO, at=at)
    elif not user.groups.filter(name=role).exists():
        user = people.set_roles(username=name, roles=[Role(role)], by=DEMO, at=at)
    if not user.check_password(password):
        people.set_password(user=user, password=password, by=DEMO, at=at)
    return user


def _infrastructure(folder: Path) -> None:
    """Write the resources of today and those wanted, for the plan that compares them."""
    folder.mkdir(parents=True, exist_ok=True)
    head = "name,kind,size"
    kept = [head, "web,server,2", "mail,server,1"]
    for environment in ("test", "production"):
        current = [*kept, "old-cache,cache,1"]
        wanted = [head, "web,server,4", "mail,server,1", "cache,cache,2"]
        for name, rows in (("current", current), ("wanted", wanted)):
            file = folder / f"{environment}-{name}.csv"
            file.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _inventory(folder: Path) -> None:
    """Write two CSV files with the name, version, files and bytes of each package."""
    if (folder / "ORIGIN.txt").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = sorted(_packages(), key=lambda row: row[0].lower())
    halves = {
        "packages-a-m.csv": [row for row in rows if row[0][:1].lower() < "n"],
        "packages-n-z.csv": [row for row in rows if row[0][:1].lower() >= "n"],
    }
    for name, part in halves.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as out:
            header = ("package", "version", "files", "bytes")
            csv.writer(out).writerows([header, *part])
    (folder / "ORIGIN.txt").write_text(
        "Made on this machine from the metadata of its installed Python packages.\n",
        encoding="utf-8",
    )


def _packages() -> list[tuple[str, str, int, int]]:
    packages = []
    for package in metadata.distributions():
        files = package.files or []
        size = sum(file.size or 0 for file in files)
        name = str(package.metadata["Name"])
        packages.append((name, package.version, len(files), size))
    return packages


def _repository(folder: Path) -> None:
    """Create a bare repository with one empty commit on the branch `main`."""
    if (folder / "HEAD").exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", folder], check=True)
    author = ("-c", "user.name=ExecFabric demo", "-c", "user.email=demo@localhost")
    tree = _git(folder, "hash-object", "-t", "tree", "-w", "/dev/null")
    commit = _git(folder, *author, "commit-tree", tree, "-m", "Begin")
    _git(folder, "update-ref", "refs/heads/main", commit)


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.check_output(command, text=True).strip()


def _configure(folder: Path, *, at: datetime) -> None:
    """Publish versions of the built-in skills with the folders of the demo."""
    config: dict[str, dict[str, Any]] = {
        "files": {
            "roots": [str(folder / "inbox")],
            "publish_root": str(folder / "published"),
        },
        "git-operations": {"repository": str(folder / "repository")},
    }
    for slug, values in config.items():
        skill = Skill.objects.get(slug=slug)
        if skill.current is not None and skill.current.contract().config == values:
            continue
        draft = registry.draft_from(
            slug=slug, changes={"config": values}, version=_next(skill), by=DEMO, at=at
        )
        registry.publish(version_id=draft.id, digest=draft.digest, by=DEMO, at=at)


def _next(skill: Skill) -> str:
    """Return the first free version 1.N.0 above the current one."""
    taken = set(skill.versions.values_list("version", flat=True))
    minor = int(skill.current.version.split(".")[1]) if skill.current else 0
    return next(v for n in count(minor + 1) if (v := f"1.{n}.0") not in taken)
