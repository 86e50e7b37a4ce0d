"""Git: branches, commits and tags in local repositories, each with its undo."""

import time
from collections.abc import Callable
from typing import Any

from orchestration.skills.builtin.git import checks as git_checks
from orchestration.skills.builtin.git import commits as git_commits
from orchestration.skills.builtin.git import rules as git_rules
from orchestration.skills.builtin.git.commits import Change
from orchestration.skills.builtin.git.repository import Repository
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    DryRunHandler,
    DryRunResult,
    File,
    Outcome,
    Retry,
    Succeeded,
    refused,
)

CREATE_BRANCH = "git-operations.create-branch@1"
DELETE_BRANCH = "git-operations.delete-branch@1"
DELETE_DEFAULT_BRANCH = "git-operations.delete-default-branch@1"
COMMIT_FILES = "git-operations.commit-files@1"
REVERT = "git-operations.revert@1"
TAG = "git-operations.tag@1"
UNTAG = "git-operations.untag@1"


@handler(CREATE_BRANCH)
def create_branch(call: Call) -> Outcome:
    repository, name = git_checks.repository_of(call), call.params["name"]
    ref, reason = git_checks.ref_of(repository, "heads", name), _reason(call)
    start = git_checks.commit_of(repository, call.params.get("from", "HEAD"))
    if repository.move(ref, start, "", reason):
        repository.confirm(ref, start)
    # An earlier attempt of this step may have created it.
    elif repository.made_by(ref) != reason:
        message = f"Cannot create the branch {name!r}: it already exists. Nothing was changed."
        raise refused("git.branch_exists", message)
    else:
        start = repository.ref(ref)
    output = {"branch": name, "commit": start, "repository": repository.name}
    return Succeeded(output=output)


@handler(DELETE_BRANCH)
def delete_branch(call: Call) -> Outcome:
    return _remove_branch(call, is_default=False)


@handler(DELETE_DEFAULT_BRANCH)
def delete_default_branch(call: Call) -> Outcome:
    return _remove_branch(call, is_default=True)


def _remove_branch(call: Call, *, is_default: bool) -> Outcome:
    repository, name = git_checks.repository_of(call), call.params["name"]
    ref = git_checks.ref_of(repository, "heads", name)
    git_checks.check_default(repository, name, wanted=is_default)
    now = repository.ref(ref)
    output: dict[str, Any] = {"branch": name, "repository": repository.name}
    if not now:
        call.log(f"The branch {name} does not exist. Nothing was deleted.")
        return Succeeded(output={**output, "deleted": False, "commit": None})
    expected = call.params.get("commit", now)
    if not repository.remove(ref, expected):
        message = f"Cannot delete {name!r}: the branch is at {now}, not at {expected}. Nothing was changed."
        raise refused("git.moved", message)
    repository.confirm(ref, "")
    return Succeeded(output={**output, "deleted": True, "commit": now})


@handler(COMMIT_FILES)
def commit_files(call: Call) -> Outcome:
    files, deletions = call.params.get("files", {}), call.params.get("delete", [])
    git_rules.check_paths(files, deletions)

    def changes(repository: Repository, parent: str) -> list[Change]:
        modes = git_checks.modes_of(repository, parent)
        git_rules.check_against(modes, files, deletions)
        written = []
        for path, value in files.items():
            mode = modes.get(path, git_commits.PLAIN)
            blob = git_commits.blob(repository, _content(value))
            written.append(Change(path, mode, blob))
        return [*written, *map(Change, deletions)]

    return _commit(call, changes)


@handler(REVERT)
def revert(call: Call) -> Outcome:
    def changes(repository: Repository, head: str) -> list[Change]:
        commit = git_checks.commit_of(repository, call.params["commit"])
        return git_commits.reversal(repository, commit, head)

    return _commit(call, changes)


@handler(TAG)
def tag(call: Call) -> Outcome:
    repository, name = git_checks.repository_of(call), call.params["name"]
    ref = git_checks.ref_of(repository, "tags", name)
    target = git_checks.commit_of(repository, call.params.get("target", "HEAD"))
    key = git_commits.key_of(call)
    trailer = f"{git_commits.TRAILER}: {key}"
    now = repository.ref(ref)
    if not now:
        message = call.params.get("message") or f"Tag {name}"
        who = repository.run("var", "GIT_COMMITTER_IDENT").rsplit(" ", 2)[0]
        head = f"object {target}\ntype commit\ntag {name}\ntagger {who} {int(time.time())} +0000"
        body = f"{head}\n\n{message.rstrip()}\n\n{trailer}\n"
        now = repository.run("mktag", stdin=body.encode())
        if repository.move(ref, now, "", _reason(call)):
            repository.confirm(ref, now)
        else:
            now = repository.ref(ref)
    if trailer not in repository.ask("cat-file", "tag", now).split("\n"):
        text = (
            f"Cannot create the tag {name!r}: it already exists. Nothing was changed."
        )
        raise refused("git.tag_exists", text)
    output = {"tag": name, "object": now, "commit": repository.commit_of(now)}
    return Succeeded(output={**output, "repository": repository.name})


@handler(UNTAG)
def untag(call: Call) -> Outcome:
    repository, name = git_checks.repository_of(call), call.params["name"]
    ref = git_checks.ref_of(repository, "tags", name)
    now = repository.ref(ref)
    output: dict[str, Any] = {"tag": name, "repository": repository.name}
    if not now:
        call.log(f"The tag {name} does not exist. Nothing was deleted.")
        return Succeeded(output={**output, "deleted": False})
    expected = call.params.get("object", now)
    if not repository.remove(ref, expected):
        message = f"Cannot delete the tag {name!r}: it is not the expected object. Nothing was changed."
        raise refused("git.moved", message)
    repository.confirm(ref, "")
    return Succeeded(output={**output, "deleted": True})


def _foreseen(check: Callable[[Call], None], preview: DryRunHandler) -> DryRunHandler:
    """Return a dry run that first runs the checks of the action."""

    def foreseen(call: Call) -> DryRunResult:
        check(call)
        return preview(call)

    return foreseen


for _key, _preview, _check_target in (
    (CREATE_BRANCH, git_checks.preview_create_branch, git_checks.check_name),
    (DELETE_BRANCH, git_checks.preview_delete_branch, git_checks.check_delete),
    (
        DELETE_DEFAULT_BRANCH,
        git_checks.preview_delete_branch,
        git_checks.check_delete_default,
    ),
    (COMMIT_FILES, git_checks.preview_commit_files, git_checks.check_commit_files),
    (REVERT, git_checks.preview_revert, git_checks.check_branch),
    (TAG, git_checks.preview_tag, git_checks.check_tag),
    (UNTAG, git_checks.preview_untag, git_checks.check_tag),
):
    dry_run_of(_key)(_foreseen(_check_target, _preview))
    check_of(_key)(_check_target)


def _reason(call: Call) -> str:
    return f"execfabric {git_commits.key_of(call)}"


def _content(value: Any) -> bytes:
    return value.path.read_bytes() if isinstance(value, File) else str(value).encode()


def _commit(
    call: Call, changes_of: Callable[[Repository, str], list[Change]]
) -> Outcome:
    """Commit changes and move the branch, unless an earlier attempt has done so."""
    repository, branch = git_checks.repository_of(call), call.params["branch"]
    ref, key = git_checks.ref_of(repository, "heads", branch), git_commits.key_of(call)
    parent = git_commits.tip(repository, branch)
    if done := git_commits.made_before(repository, branch, key):
        return Succeeded(output=_committed(repository, branch, done))
    changes = changes_of(repository, parent)
    tree = git_commits.tree_with(repository, parent, changes, call.workdir)
    if tree == repository.run("rev-parse", f"{parent}^{{tree}}"):
        message = f"Cannot commit to {branch!r}: it already has this content. Nothing was changed."
        raise refused("git.nothing_to_commit", message)
    message = call.params.get("message") or f"Revert {call.params.get('commit', '')}"
    made = git_commits.commit(repository, tree, parent, message, key)
    git_commits.check_commit(repository, parent, made, changes)
    output = _committed(repository, branch, made)
    if not repository.move(ref, made, parent, _reason(call)):
        text = f"The branch {branch!r} has moved in the meantime. Nothing was changed."
        return Retry("git.moved", text)
    repository.confirm(ref, made)
    return Succeeded(output=output)


def _committed(repository: Repository, branch: str, commit: str) -> dict[str, Any]:
    return {
        "branch": branch,
        "commit": commit,
        "parent": repository.run("rev-parse", f"{commit}^"),
        "paths": git_commits.changed_paths(repository, commit),
        "repository": repository.name,
    }
