"""Git: branches, commits and tags in local repositories, each with its undo."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from orchestration.skills.builtin import git_commits
from orchestration.skills.builtin.git import GitFailed, Repository
from orchestration.skills.builtin.git_commits import Change
from orchestration.skills.builtin.git_contract import (
    COMMIT_FILES,
    CREATE_BRANCH,
    DELETE_BRANCH,
    REVERT,
    SKILL,
    TAG,
    UNTAG,
)
from orchestration.skills.builtin.shapes import shown
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    DryRun,
    Failed,
    File,
    Handler,
    Outcome,
    Retry,
    Succeeded,
    TargetProblem,
)

__all__ = ["SKILL"]


def _refusable(work: Callable[[Call], Outcome]) -> Handler:
    """A handler whose GitFailed is its failure."""

    def run(call: Call) -> Outcome:
        try:
            return work(call)
        except GitFailed as error:
            return Failed(error.code, error.message)

    return run


def _create_branch(call: Call) -> Outcome:
    repository, name = _repository(call), call.params["name"]
    ref, reason = f"refs/heads/{name}", _reason(call)
    repository.check_name(ref)
    start = _commit(repository, call.params.get("from", "HEAD"))
    if not repository.move(ref, start, "", reason):
        # It may be there because an earlier try of this very step made it.
        if repository.made_by(ref) != reason:
            return Failed("git.branch_exists", f"The branch {name} is there already.")
        start = repository.ref(ref)
    output = {"branch": name, "commit": start, "repository": repository.name}
    return Succeeded(output=output)


def _delete_branch(call: Call) -> Outcome:
    repository, name = _repository(call), call.params["name"]
    repository.check_name(f"refs/heads/{name}")
    standing = repository.ref(f"refs/heads/{name}")
    output: dict[str, Any] = {"branch": name, "repository": repository.name}
    if not standing:
        call.log(f"there is no branch {name}; nothing to delete")
        return Succeeded(output={**output, "deleted": False, "commit": None})
    if repository.checked_out(name):
        return Failed("git.checked_out", f"{name} is checked out in a working tree.")
    expected = call.params.get("commit", standing)
    if not repository.remove(f"refs/heads/{name}", expected):
        message = f"{name} stands at {standing} now, not at {expected}; it stays."
        return Failed("git.moved", message)
    return Succeeded(output={**output, "deleted": True, "commit": standing})


def _commit_files(call: Call) -> Outcome:
    repository, branch = _repository(call), call.params["branch"]
    key = git_commits.key_of(call.idempotency_key)
    parent = git_commits.tip(repository, branch)
    done = git_commits.made_before(repository, branch, key)
    if done:
        return Succeeded(output=_committed(repository, branch, done))
    changes = [
        Change(path, git_commits.PLAIN, git_commits.blob(repository, _content(value)))
        for path, value in call.params.get("files", {}).items()
    ]
    changes += [Change(path) for path in call.params.get("delete", [])]
    tree = git_commits.tree_with(repository, parent, changes, call.workdir)
    return _advance(call, repository, branch, parent, tree)


def _revert(call: Call) -> Outcome:
    repository, branch = _repository(call), call.params["branch"]
    key = git_commits.key_of(call.idempotency_key)
    head = git_commits.tip(repository, branch)
    done = git_commits.made_before(repository, branch, key)
    if done:
        return Succeeded(output=_committed(repository, branch, done))
    commit = _commit(repository, call.params["commit"])
    changes = git_commits.reversal(repository, commit, head)
    tree = git_commits.tree_with(repository, head, changes, call.workdir)
    return _advance(call, repository, branch, head, tree)


def _tag(call: Call) -> Outcome:
    repository, name = _repository(call), call.params["name"]
    ref = f"refs/tags/{name}"
    repository.check_name(ref)
    target = _commit(repository, call.params.get("target", "HEAD"))
    key = git_commits.key_of(call.idempotency_key)
    trailer = f"{git_commits.TRAILER}: {key}"
    standing = repository.ref(ref)
    if not standing:
        message = call.params.get("message") or f"Tag {name}"
        who = repository.run("var", "GIT_COMMITTER_IDENT").rsplit(" ", 2)[0]
        head = f"object {target}\ntype commit\ntag {name}\ntagger {who} {int(time.time())} +0000"
        body = f"{head}\n\n{message.rstrip()}\n\n{trailer}\n"
        made = repository.run("mktag", stdin=body.encode())
        if repository.move(ref, made, "", _reason(call)):
            standing = made
    if trailer not in repository.ask("cat-file", "tag", standing or ref).split("\n"):
        return Failed("git.tag_exists", f"The tag {name} is there already.")
    output = {"tag": name, "object": standing, "commit": target}
    return Succeeded(output={**output, "repository": repository.name})


def _untag(call: Call) -> Outcome:
    repository, name = _repository(call), call.params["name"]
    repository.check_name(f"refs/tags/{name}")
    standing = repository.ref(f"refs/tags/{name}")
    output: dict[str, Any] = {"tag": name, "repository": repository.name}
    if not standing:
        call.log(f"there is no tag {name}; nothing to remove")
        return Succeeded(output={**output, "deleted": False})
    expected = call.params.get("object", standing)
    if not repository.remove(f"refs/tags/{name}", expected):
        message = f"The tag {name} is another one now; it stays."
        return Failed("git.moved", message)
    return Succeeded(output={**output, "deleted": True})


create_branch = handler(CREATE_BRANCH)(_refusable(_create_branch))
delete_branch = handler(DELETE_BRANCH)(_refusable(_delete_branch))
commit_files = handler(COMMIT_FILES)(_refusable(_commit_files))
revert = handler(REVERT)(_refusable(_revert))
tag = handler(TAG)(_refusable(_tag))
untag = handler(UNTAG)(_refusable(_untag))


@dry_run_of(CREATE_BRANCH)
def preview_create_branch(call: Call) -> DryRun:
    """Say where the branch would start."""
    name, start = call.params["name"], call.params.get("from", "HEAD")
    try:
        repository = _repository(call)
        repository.check_name(f"refs/heads/{name}")
        if repository.ref(f"refs/heads/{name}"):
            return DryRun(summary=f"Would fail: the branch {name} is there already.")
        commit = _commit(repository, start)
    except GitFailed as error:
        return DryRun(summary=f"Would fail: {error.message}")
    return DryRun(
        summary=f"Creates the branch {name} at {commit[:12]} ({start}).",
        changes=(f"{repository.name}: creates refs/heads/{name}",),
        output={"branch": name, "commit": commit, "repository": repository.name},
    )


@dry_run_of(DELETE_BRANCH)
def preview_delete_branch(call: Call) -> DryRun:
    """Say what would be deleted."""
    name = shown(call.params["name"])
    change = f"deletes refs/heads/{name}"
    return DryRun(summary=f"Deletes the branch {name}.", changes=(change,))


@dry_run_of(COMMIT_FILES)
def preview_commit_files(call: Call) -> DryRun:
    """Name the paths that would be written and deleted."""
    branch = shown(call.params["branch"])
    files = call.params.get("files", {})
    changes = [f"writes {path} ({shown(value)[:60]})" for path, value in files.items()]
    changes += [f"deletes {path}" for path in call.params.get("delete", [])]
    return DryRun(
        summary=f"Commits {len(changes)} changes to {branch}.", changes=tuple(changes)
    )


@dry_run_of(REVERT)
def preview_revert(call: Call) -> DryRun:
    """Say which commit would be taken back."""
    commit, branch = shown(call.params["commit"]), shown(call.params["branch"])
    return DryRun(summary=f"Takes back {commit} by a new commit on {branch}.")


@dry_run_of(TAG)
def preview_tag(call: Call) -> DryRun:
    """Say what would be tagged."""
    name, target = shown(call.params["name"]), shown(call.params.get("target", "HEAD"))
    change = f"creates refs/tags/{name}"
    return DryRun(summary=f"Tags {target} as {name}.", changes=(change,))


@dry_run_of(UNTAG)
def preview_untag(call: Call) -> DryRun:
    """Say which tag would go."""
    name = shown(call.params["name"])
    return DryRun(
        summary=f"Removes the tag {name}.", changes=(f"deletes refs/tags/{name}",)
    )


@check_of(CREATE_BRANCH)
@check_of(DELETE_BRANCH)
@check_of(COMMIT_FILES)
@check_of(REVERT)
@check_of(TAG)
@check_of(UNTAG)
def check_repository(call: Call) -> Sequence[TargetProblem]:
    """Whether the repository is configured and there."""
    try:
        _repository(call)
    except GitFailed as error:
        return [TargetProblem(error.code, error.message)]
    return []


def _repository(call: Call) -> Repository:
    return Repository.of(call.config, call.params.get("repository", "default"))


def _commit(repository: Repository, revision: str) -> str:
    found = repository.commit_of(revision)
    if not found:
        raise GitFailed("git.no_commit", f"{revision} names no commit.")
    return found


def _reason(call: Call) -> str:
    return f"execfabric {git_commits.key_of(call.idempotency_key)}"


def _content(value: Any) -> bytes:
    return value.path.read_bytes() if isinstance(value, File) else str(value).encode()


def _advance(
    call: Call, repository: Repository, branch: str, parent: str, tree: str
) -> Outcome:
    """Commit a tree and move the branch there, unless somebody was quicker."""
    if tree == repository.run("rev-parse", f"{parent}^{{tree}}"):
        return Failed("git.nothing_to_commit", f"{branch} has that content already.")
    message = call.params.get("message") or f"Revert {call.params.get('commit', '')}"
    key = git_commits.key_of(call.idempotency_key)
    made = git_commits.commit(repository, tree, parent, message, key)
    if not repository.move(f"refs/heads/{branch}", made, parent, _reason(call)):
        return Retry("git.moved", f"{branch} has moved meanwhile.")
    return Succeeded(output=_committed(repository, branch, made))


def _committed(repository: Repository, branch: str, commit: str) -> dict[str, Any]:
    return {
        "branch": branch,
        "commit": commit,
        "parent": repository.run("rev-parse", f"{commit}^"),
        "paths": git_commits.changed_paths(repository, commit),
        "repository": repository.name,
    }
