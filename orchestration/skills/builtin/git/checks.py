"""What the git skill can say before it does anything: checks, refusals, dry runs."""

from collections.abc import Callable, Sequence

from orchestration.skills.builtin.git import commits as git_commits
from orchestration.skills.builtin.git import rules as git_rules
from orchestration.skills.builtin.git.repository import GitFailed, Repository
from orchestration.skills.builtin.values import shown
from orchestration.skills.domain.outcome import (
    Call,
    CheckHandler,
    DryRun,
    DryRunHandler,
    TargetProblem,
)


def repository_of(call: Call) -> Repository:
    """Return the repository that a call names."""
    return Repository.of(call.config, call.params.get("repository", "default"))


def ref_of(repository: Repository, kind: str, name: str) -> str:
    """The full name of a branch (`heads`) or tag (`tags`).

    :raises GitFailed: when the name could be taken for something else
    """
    git_rules.check_name(name)
    ref = f"refs/{kind}/{name}"
    if not repository.is_name(ref):
        raise GitFailed("git.bad_name", f"{name!r} is not a valid name in git.")
    return ref


def check_default(repository: Repository, name: str, *, wanted: bool) -> None:
    """Refuse to delete a branch in use, and the default one unless it is wanted."""
    if repository.checked_out(name):
        message = f"{name} is checked out in a working tree."
        raise GitFailed("git.checked_out", message)
    is_default = repository.default_branch() == f"refs/heads/{name}"
    if is_default and not wanted:
        message = (
            f"{name} is the default branch of the repository. To delete it, use the"
            " action delete-default-branch, which needs an approval of its own."
        )
        raise GitFailed("git.default_branch", message)
    if wanted and not is_default and repository.ref(f"refs/heads/{name}"):
        message = f"{name} is not the default branch. Use the action delete-branch."
        raise GitFailed("git.not_default_branch", message)


def modes_of(repository: Repository, commit: str) -> dict[str, str]:
    """Return the mode of every path in a commit."""
    found = git_commits.entries(repository, commit)
    return {path: change.mode for path, change in found.items()}


def commit_of(repository: Repository, revision: str) -> str:
    """Return the commit that a revision names.

    :raises GitFailed: when it names none
    """
    found = repository.commit_of(revision)
    if not found:
        raise GitFailed("git.no_commit", f"{revision} names no commit.")
    return found


def foreseen(
    preview: Callable[[Call], DryRun], check: Callable[[Call], None]
) -> DryRunHandler:
    """A dry run that first does the checks of the action itself."""

    def run(call: Call) -> DryRun:
        try:
            check(call)
            return preview(call)
        except GitFailed as error:
            return DryRun.failing(error.message)

    return run


def preview_create_branch(call: Call) -> DryRun:
    """Say where the branch would start."""
    name, start = call.params["name"], call.params.get("from", "HEAD")
    repository = repository_of(call)
    if repository.ref(f"refs/heads/{name}"):
        raise GitFailed("git.branch_exists", f"The branch {name} exists already.")
    commit = commit_of(repository, start)
    return DryRun(
        summary=f"Creates the branch {name} at {commit[:12]} ({start}).",
        changes=(f"{repository.name}: creates refs/heads/{name}",),
        output={"branch": name, "commit": commit, "repository": repository.name},
    )


def preview_delete_branch(call: Call) -> DryRun:
    """Say what would be deleted."""
    name = shown(call.params["name"])
    change = f"deletes refs/heads/{name}"
    return DryRun(summary=f"Deletes the branch {name}.", changes=(change,))


def preview_commit_files(call: Call) -> DryRun:
    """Name the paths that would be written and deleted."""
    branch = shown(call.params["branch"])
    files = call.params.get("files", {})
    changes = [f"writes {path} ({shown(value)[:60]})" for path, value in files.items()]
    changes += [f"deletes {path}" for path in call.params.get("delete", [])]
    return DryRun(
        summary=f"Commits {len(changes)} changes to {branch}.", changes=tuple(changes)
    )


def preview_revert(call: Call) -> DryRun:
    """Say which commit would be taken back."""
    commit, branch = shown(call.params["commit"]), shown(call.params["branch"])
    return DryRun(summary=f"Takes back {commit} by a new commit on {branch}.")


def preview_tag(call: Call) -> DryRun:
    """Say what would be tagged."""
    name, target = shown(call.params["name"]), shown(call.params.get("target", "HEAD"))
    change = f"creates refs/tags/{name}"
    return DryRun(summary=f"Tags {target} as {name}.", changes=(change,))


def preview_untag(call: Call) -> DryRun:
    """Say which tag would go."""
    name = shown(call.params["name"])
    return DryRun(
        summary=f"Removes the tag {name}.", changes=(f"deletes refs/tags/{name}",)
    )


def problems(check: Callable[[Call], None]) -> CheckHandler:
    """A target check that reports what a check raises."""

    def run(call: Call) -> Sequence[TargetProblem]:
        try:
            check(call)
        except GitFailed as error:
            return [TargetProblem(error.code, error.message)]
        return []

    return run


def check_name(call: Call) -> None:
    """Check the name of a branch."""
    ref_of(repository_of(call), "heads", call.params["name"])


def check_delete(call: Call) -> None:
    """Check that the branch may be deleted as any other."""
    check_name(call)
    check_default(repository_of(call), call.params["name"], wanted=False)


def check_delete_default(call: Call) -> None:
    """Check that the branch is the default one."""
    check_name(call)
    check_default(repository_of(call), call.params["name"], wanted=True)


def check_branch(call: Call) -> None:
    """Check the name of the branch that a commit goes to."""
    ref_of(repository_of(call), "heads", call.params["branch"])


def check_commit_files(call: Call) -> None:
    """Check the paths; against the branch, too, where it exists already."""
    check_branch(call)
    files, deletions = call.params.get("files", {}), call.params.get("delete", [])
    git_rules.check_paths(files, deletions)
    repository = repository_of(call)
    if repository.ref(f"refs/heads/{call.params['branch']}"):
        parent = git_commits.tip(repository, call.params["branch"])
        git_rules.check_against(modes_of(repository, parent), files, deletions)


def check_tag(call: Call) -> None:
    """Check the name of a tag."""
    ref_of(repository_of(call), "tags", call.params["name"])
