"""Create commits without a working tree: in a temporary index."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.skills.builtin.common import digest_of_key
from orchestration.skills.builtin.git.repository import Repository
from orchestration.skills.domain.outcome import Call, refused

TRAILER = "ExecFabric-Key"
LOOK_BACK = "200"
PLAIN = "100644"
GONE = "000000"


@dataclass(frozen=True)
class Change:
    """The new mode and blob of a path; empty if it is deleted."""

    path: str
    mode: str = ""
    blob: str = ""


def key_of(call: Call) -> str:
    """Return the key that identifies the step run in a commit or tag."""
    return digest_of_key(call)[:32]


def tip(repository: Repository, branch: str) -> str:
    """Return the commit of a branch that is not checked out.

    :raises CallFailed: when there is no such branch, or it is checked out
    """
    commit = repository.ref(f"refs/heads/{branch}")
    if not commit:
        message = f"Unknown branch {branch!r}. Nothing was changed."
        raise refused("git.no_branch", message)
    if repository.checked_out(branch):
        message = (
            f"Cannot change {branch!r}: the branch is checked out in a working tree."
        )
        raise refused("git.checked_out", message)
    return commit


def made_before(repository: Repository, branch: str, key: str) -> str:
    """Return the commit on a branch with this key; empty if there is none."""
    listed = repository.ask(
        "rev-list",
        f"--max-count={LOOK_BACK}",
        "--format=%H %(trailers:key=ExecFabric-Key,valueonly,separator=%x2C)",
        f"refs/heads/{branch}",
    )
    for line in listed.split("\n"):
        commit, _, keys = line.partition(" ")
        if commit != "commit" and key in keys.split(","):
            return commit
    return ""


def blob(repository: Repository, content: bytes) -> str:
    """Store bytes without the filters of the repository."""
    return repository.run("hash-object", "-w", "--no-filters", "--stdin", stdin=content)


def tree_with(
    repository: Repository, parent: str, changes: Iterable[Change], workdir: Path
) -> str:
    """Return the tree of a commit with some paths changed."""
    index = {"GIT_INDEX_FILE": str(workdir / "index")}
    repository.run("read-tree", parent, environment=index)
    nothing = "0" * len(parent)
    lines = [
        f"{change.mode or '0'} {change.blob or nothing}\t{change.path}\0"
        for change in changes
    ]
    stdin = "".join(lines).encode(errors="surrogateescape")
    repository.run("update-index", "-z", "--index-info", stdin=stdin, environment=index)
    return repository.run("write-tree", environment=index)


def commit(
    repository: Repository, tree: str, parent: str, message: str, key: str
) -> str:
    body = f"{message.rstrip()}\n\n{TRAILER}: {key}\n"
    return repository.run("commit-tree", tree, "-p", parent, stdin=body.encode())


def entries(repository: Repository, commit: str) -> Mapping[str, Change]:
    """Return every file in a commit, by path."""
    listed = repository.run("ls-tree", "-r", "-z", "--full-tree", commit)
    files = {}
    for line in listed.split("\0"):
        known, tab, path = line.partition("\t")
        if tab:
            mode, _, name = known.split(" ")
            files[path] = Change(path=path, mode=mode, blob=name)
    return files


def differences(repository: Repository, before: str, after: str) -> dict[str, Change]:
    listed = repository.run("diff-tree", "-r", "-z", "--no-renames", before, after)
    parts = listed.split("\0")
    changes = {}
    for known, path in zip(parts[::2], parts[1::2], strict=False):
        _, mode, _, name, _ = known.split(" ")
        is_gone = mode == GONE
        changes[path] = Change(path) if is_gone else Change(path, mode, name)
    return changes


def check_commit(
    repository: Repository, parent: str, commit: str, changes: Iterable[Change]
) -> None:
    """Check that a commit changes its parent in exactly the approved way.

    :raises CallFailed: when it makes other, more or fewer changes
    """
    before = entries(repository, parent)
    wanted = {
        change.path: change
        for change in changes
        if before.get(change.path, Change(change.path)) != change
    }
    made = differences(repository, parent, commit)
    wrong = sorted(
        path
        for path in wanted.keys() | made.keys()
        if wanted.get(path) != made.get(path)
    )
    if wrong or repository.run("rev-parse", f"{commit}^@") != parent:
        message = (
            "Cannot commit: the result would differ from what was approved in"
            f" {', '.join(map(repr, wrong[:5])) or 'its parent'}. The branch was not changed."
        )
        raise refused("git.effect_differs", message)


def changed_paths(repository: Repository, commit: str) -> list[str]:
    """Return the paths that a commit changed against its first parent."""
    paths = sorted(differences(repository, f"{commit}^", commit))
    return [
        path.encode(errors="surrogateescape").decode(errors="replace") for path in paths
    ]


def reversal(repository: Repository, commit: str, head: str) -> list[Change]:
    """Return the changes that revert a commit on top of `head`.

    :raises CallFailed: when one of its paths has changed since
    """
    paths = sorted(differences(repository, f"{commit}^", commit))
    before = entries(repository, f"{commit}^")
    after = entries(repository, commit)
    now = entries(repository, head)
    moved = [path for path in paths if now.get(path) != after.get(path)]
    if moved:
        message = f"Cannot revert: {', '.join(map(repr, moved))} changed after the commit. Nothing was changed. Revert it manually."
        raise refused("git.conflict", message)
    return [before.get(path, Change(path=path)) for path in paths]
