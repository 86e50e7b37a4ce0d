"""Checks and dry runs of the git skill."""

from orchestration.skills.builtin.common import shown
from orchestration.skills.builtin.git import commits as git_commits
from orchestration.skills.builtin.git import rules as git_rules
from orchestration.skills.builtin.git.repository import Repository
from orchestration.skills.domain.outcome import Call, DryRunResult, refused


def repository_of(call: Call) -> Repository:
    return Repository.of(call.config, call.params.get("repository", "default"))


def ref_of(repository: Repository, kind: str, name: str) -> str:
    """Return the full name of a branch (`heads`) or tag (`tags`).

    :raises CallFailed: when the name is ambiguous
    """
    git_rules.check_name(name)
    ref = f"refs/{kind}/{name}"
    if not repository.is_name(ref):
        message = f"Invalid name {name!r}. Git does not allow it. Use another name."
        raise refused("git.bad_name", message)
    return ref


def check_default(repository: Repository, name: str, *, wanted: bool) -> None:
    """Refuse to delete a checked-out branch, or the default unless `wanted`."""
    if repository.checked_out(name):
        message = (
            f"Cannot delete {name!r}: the branch is checked out in a working tree."
        )
        raise refused("git.checked_out", message)
    is_default = repository.default_branch() == f"refs/heads/{name}"
    if is_default and not wanted:
        message = (
            f"Cannot delete {name!r}: it is the default branch. Use the action"
            " delete-default-branch, which needs its own approval."
        )
        raise refused("git.default_branch", message)
    if wanted and not is_default and repository.ref(f"refs/heads/{name}"):
        message = f"Cannot delete {name!r}: it is not the default branch. Use the action delete-branch."
        raise refused("git.not_default_branch", message)


def modes_of(repository: Repository, commit: str) -> dict[str, str]:
    entries = git_commits.entries(repository, commit)
    return {path: change.mode for path, change in entries.items()}


def commit_of(repository: Repository, revision: str) -> str:
    """Return the commit of a revision.

    :raises CallFailed: when there is none
    """
    if commit := repository.commit_of(revision):
        return commit
    raise refused("git.no_commit", f"Unknown commit {revision!r}. Nothing was changed.")


def preview_create_branch(call: Call) -> DryRunResult:
    name, start = call.params["name"], call.params.get("from", "HEAD")
    repository = repository_of(call)
    if repository.ref(f"refs/heads/{name}"):
        message = f"Cannot create the branch {name!r}: it already exists. Nothing was changed."
        raise refused("git.branch_exists", message)
    commit = commit_of(repository, start)
    return DryRunResult(
        summary=f"Creates the branch {name} at {commit[:12]} ({start}).",
        changes=(f"{repository.name}: creates refs/heads/{name}",),
        output={"branch": name, "commit": commit, "repository": repository.name},
    )


def preview_delete_branch(call: Call) -> DryRunResult:
    name = shown(call.params["name"])
    change = f"deletes refs/heads/{name}"
    return DryRunResult(summary=f"Deletes the branch {name}.", changes=(change,))


def preview_commit_files(call: Call) -> DryRunResult:
    branch = shown(call.params["branch"])
    files = call.params.get("files", {})
    changes = [f"writes {path} ({shown(value)[:60]})" for path, value in files.items()]
    changes += [f"deletes {path}" for path in call.params.get("delete", [])]
    return DryRunResult(
        summary=f"Commits {len(changes)} changes to {branch}.", changes=tuple(changes)
    )


def preview_revert(call: Call) -> DryRunResult:
    commit, branch = shown(call.params["commit"]), shown(call.params["branch"])
    return DryRunResult(summary=f"Reverts {commit} by a new commit on {branch}.")


def preview_tag(call: Call) -> DryRunResult:
    name, target = shown(call.params["name"]), shown(call.params.get("target", "HEAD"))
    change = f"creates refs/tags/{name}"
    return DryRunResult(summary=f"Tags {target} as {name}.", changes=(change,))


def preview_untag(call: Call) -> DryRunResult:
    name = shown(call.params["name"])
    return DryRunResult(
        summary=f"Deletes the tag {name}.", changes=(f"deletes refs/tags/{name}",)
    )


def check_name(call: Call) -> None:
    ref_of(repository_of(call), "heads", call.params["name"])


def check_delete(call: Call) -> None:
    check_name(call)
    check_default(repository_of(call), call.params["name"], wanted=False)


def check_delete_default(call: Call) -> None:
    check_name(call)
    check_default(repository_of(call), call.params["name"], wanted=True)


def check_branch(call: Call) -> None:
    ref_of(repository_of(call), "heads", call.params["branch"])


def check_commit_files(call: Call) -> None:
    """Check the paths; if the branch exists, also against its files."""
    check_branch(call)
    files, deletions = call.params.get("files", {}), call.params.get("delete", [])
    git_rules.check_paths(files, deletions)
    repository = repository_of(call)
    if repository.ref(f"refs/heads/{call.params['branch']}"):
        parent = git_commits.tip(repository, call.params["branch"])
        git_rules.check_against(modes_of(repository, parent), files, deletions)


def check_tag(call: Call) -> None:
    ref_of(repository_of(call), "tags", call.params["name"])
