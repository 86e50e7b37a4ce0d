"""Commits made without a working tree: a temporary index, then one moved ref."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.skills.builtin.git import GitFailed, Repository

TRAILER = "ExecFabric-Key"
LOOK_BACK = "200"
PLAIN = "100644"


@dataclass(frozen=True)
class Change:
    """What a path shall be: a mode and a blob, or nothing."""

    path: str
    mode: str = ""
    blob: str = ""


def key_of(idempotency_key: str) -> str:
    """What stands in a commit or a tag to say which step run made it."""
    return hashlib.sha256(idempotency_key.encode()).hexdigest()[:32]


def tip(repository: Repository, branch: str) -> str:
    """The commit a branch stands at, which no working tree may be on.

    :raises GitFailed: when there is no such branch, or one works on it
    """
    found = repository.ref(f"refs/heads/{branch}")
    if not found:
        raise GitFailed("git.no_branch", f"There is no branch {branch}.")
    if repository.checked_out(branch):
        message = f"{branch} is checked out in a working tree, which would fall behind."
        raise GitFailed("git.checked_out", message)
    return found


def made_before(repository: Repository, branch: str, key: str) -> str:
    """The commit on the branch that bears this key; empty where none does."""
    said = repository.ask(
        "rev-list",
        f"--max-count={LOOK_BACK}",
        "--format=%H %(trailers:key=ExecFabric-Key,valueonly,separator=%x2C)",
        f"refs/heads/{branch}",
    )
    for line in said.split("\n"):
        commit, _, keys = line.partition(" ")
        if commit != "commit" and key in keys.split(","):
            return commit
    return ""


def blob(repository: Repository, content: bytes) -> str:
    """Store bytes as they are, whatever filters the repository has configured."""
    return repository.run("hash-object", "-w", "--no-filters", "--stdin", stdin=content)


def tree_with(
    repository: Repository, parent: str, changes: Iterable[Change], workdir: Path
) -> str:
    """The tree of a commit with some paths changed."""
    index = {"GIT_INDEX_FILE": str(workdir / "index")}
    repository.run("read-tree", parent, environment=index)
    nothing = "0" * len(parent)
    lines = [
        f"{change.mode or '0'} {change.blob or nothing}\t{change.path}\0"
        for change in changes
    ]
    repository.run(
        "update-index",
        "-z",
        "--index-info",
        stdin="".join(lines).encode(),
        environment=index,
    )
    return repository.run("write-tree", environment=index)


def commit(
    repository: Repository, tree: str, parent: str, message: str, key: str
) -> str:
    """A commit that bears its key."""
    body = f"{message.rstrip()}\n\n{TRAILER}: {key}\n"
    return repository.run("commit-tree", tree, "-p", parent, stdin=body.encode())


def entries(
    repository: Repository, commit: str, paths: Sequence[str]
) -> Mapping[str, Change]:
    """What stands at some paths in a commit."""
    said = repository.run("ls-tree", "-r", "-z", "--full-tree", commit)
    found = {}
    for line in said.split("\0"):
        known, tab, path = line.partition("\t")
        if tab and path in paths:
            mode, _, name = known.split(" ")
            found[path] = Change(path=path, mode=mode, blob=name)
    return found


def changed_paths(repository: Repository, commit: str) -> list[str]:
    """The paths a commit changed against its first parent."""
    said = repository.run(
        "diff-tree", "-r", "-z", "--no-renames", "--name-only", f"{commit}^", commit
    )
    return [path for path in said.split("\0") if path]


def reversal(repository: Repository, commit: str, head: str) -> list[Change]:
    """What takes a commit's changes back on top of `head`.

    :raises GitFailed: when a path of it was changed again since
    """
    paths = changed_paths(repository, commit)
    before = entries(repository, f"{commit}^", paths)
    after = entries(repository, commit, paths)
    now = entries(repository, head, paths)
    moved = [path for path in paths if now.get(path) != after.get(path)]
    if moved:
        message = f"Changed again since: {', '.join(moved)}. Revert by hand."
        raise GitFailed("git.conflict", message)
    return [before.get(path, Change(path=path)) for path in paths]
