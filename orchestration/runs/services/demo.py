"""The demo: real data made from this machine, real skills, one run that waits.

The data set is the inventory of the Python packages installed here, read from their
own metadata when the demo is set up; nothing is downloaded.
"""

import csv
import json
import secrets
import subprocess
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from django.conf import settings

from execfabric.accounts import people
from execfabric.accounts.authority import Role
from execfabric.accounts.models import User
from execfabric.lib.actor import Actor, system
from execfabric.lib.refusal import Denied
from orchestration.runs.models import Run
from orchestration.runs.services import proposals
from orchestration.skills.models import Skill
from orchestration.skills.services import registry

EXAMPLES = Path(__file__).resolve().parents[2] / "plans" / "examples"
VERSION = "1.1.0"
DEMO: Actor = system("demo")
"""Configures the demo's skills: one admin alone may not change what a skill reaches."""


class DemoModeOff(Denied):
    """Demo users exist in demo mode only."""

    code = "demo.off"


def seed(*, at: datetime) -> Run | None:
    """Set the demo up; safe to repeat. Return the run that waits, if one was made.

    :raises DemoModeOff: outside demo mode
    """
    if not settings.DEMO_MODE:
        raise DemoModeOff
    folder = settings.DATA_DIR / "demo"
    users = _users(at=at)
    _inventory(folder / "inbox")
    _repository(folder / "repository")
    (folder / "published").mkdir(parents=True, exist_ok=True)
    _configure(folder, at=at)
    if Run.objects.exists():
        return None
    text = (EXAMPLES / "publish-package-report.yaml").read_text(encoding="utf-8")
    proposer = users[Role.PROPOSER].actor()
    return proposals.propose(text=text, inputs={"minimum": 100_000}, by=proposer, at=at)


def _users(*, at: datetime) -> dict[Role, User]:
    """One user per role, named by it, with a password of its own."""
    known = settings.DATA_DIR / "run" / "demo.json"
    passwords: dict[str, str] = {}
    if known.exists():
        entries = json.loads(known.read_text(encoding="utf-8"))
        passwords = {entry["role"]: entry["password"] for entry in entries}
    users = {}
    for role in Role:
        password = passwords.setdefault(str(role), secrets.token_urlsafe(9))
        users[role] = _user(role, password, at=at)
    known.parent.mkdir(parents=True, exist_ok=True)
    shown = [
        {
            "username": f"demo-{role}",
            "password": passwords[str(role)],
            "role": str(role),
        }
        for role in Role
    ]
    known.touch(mode=0o600)
    known.write_text(json.dumps(shown, indent=1), encoding="utf-8")
    return users


def _user(role: Role, password: str, *, at: datetime) -> User:
    name, by = f"demo-{role}", system("demo")
    user = User.objects.filter(username=name).first()
    if user is None:
        user = people.create_user(username=name, roles=[role], by=by, at=at)
    elif not user.groups.filter(name=str(role)).exists():
        user = people.set_roles(username=name, roles=[role], by=by, at=at)
    if not user.check_password(password):
        people.set_password(user=user, password=password, by=by, at=at)
    return user


def _inventory(folder: Path) -> None:
    """Two CSV files with name, version, number of files and bytes of each package."""
    if (folder / "ORIGIN.txt").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = sorted(_packages(), key=lambda row: str(row[0]).lower())
    halves = {
        "packages-a-m.csv": [row for row in rows if str(row[0])[:1].lower() < "n"],
        "packages-n-z.csv": [row for row in rows if str(row[0])[:1].lower() >= "n"],
    }
    for name, part in halves.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["package", "version", "files", "bytes"])
            writer.writerows(part)
    (folder / "ORIGIN.txt").write_text(
        "Made on this machine from the metadata of its installed Python packages.\n",
        encoding="utf-8",
    )


def _packages() -> list[tuple[str, str, int, int]]:
    found = []
    for package in metadata.distributions():
        files = package.files or []
        size = sum(file.size or 0 for file in files)
        found.append((package.metadata["Name"], package.version, len(files), size))
    return found


def _repository(folder: Path) -> None:
    if (folder / "HEAD").exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    author = ["-c", "user.name=ExecFabric demo", "-c", "user.email=demo@localhost"]
    empty_tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", folder], check=True)
    subprocess.run(
        ["git", "-C", folder, "hash-object", "-t", "tree", "-w", "/dev/null"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    made = subprocess.run(
        ["git", *author, "-C", folder, "commit-tree", empty_tree, "-m", "Begin"],
        check=True,
        capture_output=True,
        text=True,
    )
    commit = made.stdout.strip()
    subprocess.run(
        ["git", "-C", folder, "update-ref", "refs/heads/main", commit], check=True
    )


def _configure(folder: Path, *, at: datetime) -> None:
    """Publish versions of the built-in skills that know this machine's places."""
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
        number = _next(skill)
        draft = registry.draft_from(
            slug=slug,
            changes={"config": values},
            version=number,
            by=DEMO,
            at=at,
        )
        registry.publish(version_id=draft.id, digest=draft.digest, by=DEMO, at=at)


def _next(skill: Skill) -> str:
    """The first free minor version behind the current one."""
    taken = set(skill.versions.values_list("version", flat=True))
    major, minor, _ = VERSION.split(".")
    number = int(minor)
    while f"{major}.{number}.0" in taken:
        number += 1
    return f"{major}.{number}.0"
