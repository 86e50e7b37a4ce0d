"""A repository for tests, and the real git."""

import os
import subprocess
from pathlib import Path
from typing import Any

from orchestration.skills import installed
from tests.skill_calls import Bench, action


def git(path: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(path), *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
             "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.example",
             "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.example"},
    )  # fmt: skip
    return done.stdout.strip()


def a_repository(path: Path) -> Path:
    """Create a repository with one commit on `main`."""
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    path.joinpath("README").write_text("first\n")
    git(path, "add", "README")
    git(path, "commit", "-q", "-m", "first")
    return path


def direct(bench: Bench, name: str, params: dict[str, Any]) -> Any:
    """Call a handler with params that its schema refuses."""
    registered = installed.find(action(name).handler)
    assert registered is not None
    return registered.run(bench.call(params))
