"""Local targets for skills that change something outside.

Folders, a repository, a warehouse, and servers for the hosts that plans call.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.skills.services import registry as registered


def configured(slug: str, config: dict[str, Any]) -> None:
    by, at = system("test"), clock.now()
    draft = registered.draft_from(
        slug=slug, changes={"config": config}, version="9.0.0", by=by, at=at
    )
    registered.publish(version_id=draft.pk, digest=draft.digest, by=by, at=at)


def prepare(folder: Path) -> None:
    """Configure the skills for an inbox, a folder to publish to, and a repository."""
    inbox, published = folder / "inbox", folder / "published"
    inbox.mkdir()
    published.mkdir()
    inbox.joinpath("sales-2024-01-north.csv").write_text("name,amount\nfirst,3\n")
    packages = "package,version,files,bytes\na,1.0,3,400\n"
    inbox.joinpath("packages-a.csv").write_text(packages)
    repository = folder / "repository.git"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run([*git, "init", "-q", "-b", "main", "--bare", repository], check=True)
    at = [*git, "-C", str(repository)]
    tree = subprocess.run([*at, "mktree"], input=b"", capture_output=True, check=True)
    made = subprocess.run(
        [*at, "commit-tree", "-m", "first", tree.stdout.decode().strip()],
        capture_output=True,
        check=True,
    )
    first = made.stdout.decode().strip()
    subprocess.run([*at, "update-ref", "HEAD", first], check=True)
    configured("files", {"roots": [str(inbox)], "publish_root": str(published)})
    configured("git-operations", {"repository": str(repository)})


@contextmanager
def warehouse() -> Iterator[str]:
    """Create a database on the session's server; give its address."""
    name = f"warehouse_{uuid4().hex[:12]}"
    server = os.environ["DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
