"""Find out if a branch, a commit or a tag was made by a step: each carries its key."""

from orchestration.skills.builtin.git import checks as git_checks
from orchestration.skills.builtin.git import commits as git_commits

# Private there: with other names, the code of runs that are approved would have changed.
from orchestration.skills.builtin.git.handlers import _committed as committed
from orchestration.skills.builtin.git.handlers import _reason as reason_of
from orchestration.skills.domain.handlers import probe
from orchestration.skills.domain.outcome import (
    Call,
    CannotTell,
    DidHappen,
    ProbeResult,
)


@probe("git-operations.create-branch-probe@1")
def branch_created(call: Call) -> ProbeResult:
    """Read who created the branch from its reflog."""
    repository, name = git_checks.repository_of(call), call.params["name"]
    ref = git_checks.ref_of(repository, "heads", name)
    commit = repository.ref(ref)
    if not commit:
        return CannotTell(f"There is no branch {name!r}: it may be gone again.")
    if repository.made_by(ref) != reason_of(call):
        return CannotTell(f"The branch {name!r} exists without the mark of this step.")
    output = {"branch": name, "commit": commit, "repository": repository.name}
    return DidHappen(f"The reflog of {name!r} has the mark of this step.", output)


@probe("git-operations.commit-probe@1")
def commit_made(call: Call) -> ProbeResult:
    """Look for the trailer of this step in the last commits of the branch."""
    repository, branch = git_checks.repository_of(call), call.params["branch"]
    if not repository.ref(git_checks.ref_of(repository, "heads", branch)):
        return CannotTell(f"There is no branch {branch!r} any more.")
    key = git_commits.key_of(call)
    if commit := git_commits.made_before(repository, branch, key):
        evidence = f"Commit {commit} of {branch!r} has the trailer of this step."
        return DidHappen(evidence, committed(repository, branch, commit))
    last = git_commits.LOOK_BACK
    return CannotTell(
        f"None of the last {last} commits of {branch!r} has the trailer of this step."
    )


@probe("git-operations.tag-probe@1")
def tag_made(call: Call) -> ProbeResult:
    """Look for the trailer of this step in the tag."""
    repository, name = git_checks.repository_of(call), call.params["name"]
    now = repository.ref(git_checks.ref_of(repository, "tags", name))
    if not now:
        return CannotTell(f"There is no tag {name!r}: it may be gone again.")
    trailer = f"{git_commits.TRAILER}: {git_commits.key_of(call)}"
    if trailer not in repository.ask("cat-file", "tag", now).split("\n"):
        return CannotTell(f"The tag {name!r} exists without the trailer of this step.")
    output = {"tag": name, "object": now, "commit": repository.commit_of(now)}
    output["repository"] = repository.name
    return DidHappen(f"The tag {name!r} has the trailer of this step.", output)
