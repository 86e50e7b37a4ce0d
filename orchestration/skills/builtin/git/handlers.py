"""Git: branches, commits and tags in local repositories, each with its undo."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from orchestration.skills.builtin.git import checks as git_checks
from orchestration.skills.builtin.git import commits as git_commits
from orchestration.skills.builtin.git import rules as git_rules
from orchestration.skills.builtin.git.commits import Change
from orchestration.skills.builtin.git.repository import GitFailed, Repository
from orchestration.skills.domain.handlers import check_of, dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    Failed,
    File,
    Handler,
    Outcome,
    Retry,
    Succeeded,
)

CREATE_BRANCH = "git-operations.create-branch@1"
DELETE_BRANCH = "git-operations.delete-branch@1"
DELETE_DEFAULT_BRANCH = "git-operations.delete-default-branch@1"
COMMIT_FILES = "git-operations.commit-files@1"
REVERT = "git-operations.revert@1"
TAG = "git-operations.tag@1"
UNTAG = "git-operations.untag@1"


def _refusable(work: Callable[[Call], Outcome]) -> Handler:
    """Return a handler that reports GitFailed as its failure."""

    def run(call: Call) -> Outcome:
        try:
            return work(call)
        except GitFailed as error:
            return Failed(error.code, error.message, before_effect=error.before_effect)

    return run


def _create_branch(call: Call) -> Outcome:
    repository, name = git_checks.repository_of(call), call.params["name"]
    ref, reason = git_checks.ref_of(repository, "heads", name), _reason(call)
    start = git_checks.commit_of(repository, call.params.get("from", "HEAD"))
    if repository.move(ref, start, "", reason):
        repository.confirm(ref, start)
    # An earlier attempt of this step may have created it.
    elif repository.made_by(ref) != reason:
        raise GitFailed(
            "git.branch_exists",
            f"Cannot create the branch {name!r}: it already exists. Nothing was changed.",
        )
    else:
        start = repository.ref(ref)
    output = {"branch": name, "commit": start, "repository": repository.name}
    return Succeeded(output=output)


def _delete_branch(call: Call) -> Outcome:
    return _remove_branch(call, is_default=False)


def _delete_default_branch(call: Call) -> Outcome:
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
        raise GitFailed("git.moved", message)
    repository.confirm(ref, "")
    return Succeeded(output={**output, "deleted": True, "commit": now})


def _commit_files(call: Call) -> Outcome:
    repository, branch = git_checks.repository_of(call), call.params["branch"]
    git_checks.ref_of(repository, "heads", branch)
    files, deletions = call.params.get("files", {}), call.params.get("delete", [])
    git_rules.check_paths(files, deletions)
    key = git_commits.key_of(call.idempotency_key)
    parent = git_commits.tip(repository, branch)
    done = git_commits.made_before(repository, branch, key)
    if done:
        return Succeeded(output=_committed(repository, branch, done))
    modes = git_checks.modes_of(repository, parent)
    git_rules.check_against(modes, files, deletions)
    changes = [
        Change(
            path,
            modes.get(path, git_commits.PLAIN),
            git_commits.blob(repository, _content(value)),
        )
        for path, value in files.items()
    ]
    changes += [Change(path) for path in deletions]
    return _advance(call, repository, branch, parent, changes)


def _revert(call: Call) -> Outcome:
    repository, branch = git_checks.repository_of(call), call.params["branch"]
    git_checks.ref_of(repository, "heads", branch)
    key = git_commits.key_of(call.idempotency_key)
    head = git_commits.tip(repository, branch)
    done = git_commits.made_before(repository, branch, key)
    if done:
        return Succeeded(output=_committed(repository, branch, done))
    commit = git_checks.commit_of(repository, call.params["commit"])
    changes = git_commits.reversal(repository, commit, head)
    return _advance(call, repository, branch, head, changes)


def _tag(call: Call) -> Outcome:
    repository, name = git_checks.repository_of(call), call.params["name"]
    ref = git_checks.ref_of(repository, "tags", name)
    target = git_checks.commit_of(repository, call.params.get("target", "HEAD"))
    key = git_commits.key_of(call.idempotency_key)
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
        raise GitFailed(
            "git.tag_exists",
            f"Cannot create the tag {name!r}: it already exists. Nothing was changed.",
        )
    output = {"tag": name, "object": now, "commit": repository.commit_of(now)}
    return Succeeded(output={**output, "repository": repository.name})


def _untag(call: Call) -> Outcome:
    repository, name = git_checks.repository_of(call), call.params["name"]
    ref = git_checks.ref_of(repository, "tags", name)
    now = repository.ref(ref)
    output: dict[str, Any] = {"tag": name, "repository": repository.name}
    if not now:
        call.log(f"The tag {name} does not exist. Nothing was deleted.")
        return Succeeded(output={**output, "deleted": False})
    expected = call.params.get("object", now)
    if not repository.remove(ref, expected):
        message = f"Cannot delete the tag {name!r}: it has changed since. Nothing was changed."
        raise GitFailed("git.moved", message)
    repository.confirm(ref, "")
    return Succeeded(output={**output, "deleted": True})


create_branch = handler(CREATE_BRANCH)(_refusable(_create_branch))
delete_branch = handler(DELETE_BRANCH)(_refusable(_delete_branch))
delete_default_branch = handler(DELETE_DEFAULT_BRANCH)(
    _refusable(_delete_default_branch)
)
commit_files = handler(COMMIT_FILES)(_refusable(_commit_files))
revert = handler(REVERT)(_refusable(_revert))
tag = handler(TAG)(_refusable(_tag))
untag = handler(UNTAG)(_refusable(_untag))


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
    dry_run_of(_key)(git_checks.foreseen(_preview, _check_target))
    check_of(_key)(git_checks.problems(_check_target))


def _reason(call: Call) -> str:
    return f"execfabric {git_commits.key_of(call.idempotency_key)}"


def _content(value: Any) -> bytes:
    return value.path.read_bytes() if isinstance(value, File) else str(value).encode()


def _advance(
    call: Call,
    repository: Repository,
    branch: str,
    parent: str,
    changes: Sequence[Change],
) -> Outcome:
    """Commit the changes and move the branch, unless it has moved since."""
    tree = git_commits.tree_with(repository, parent, changes, call.workdir)
    if tree == repository.run("rev-parse", f"{parent}^{{tree}}"):
        message = f"Cannot commit to {branch!r}: it already has this content. Nothing was changed."
        raise GitFailed("git.nothing_to_commit", message)
    message = call.params.get("message") or f"Revert {call.params.get('commit', '')}"
    key = git_commits.key_of(call.idempotency_key)
    made = git_commits.commit(repository, tree, parent, message, key)
    git_commits.check_commit(repository, parent, made, changes)
    output = _committed(repository, branch, made)
    ref = f"refs/heads/{branch}"
    if not repository.move(ref, made, parent, _reason(call)):
        return Retry(
            "git.moved", f"The branch {branch!r} has moved since. Nothing was changed."
        )
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
