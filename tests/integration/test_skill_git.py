"""Branches and tags with the real git, and their undoing."""

from pathlib import Path

import pytest

from orchestration.skills.domain.contract import Risk
from orchestration.skills.domain.outcome import Failed, Succeeded
from orchestration.skills.execution import schema_problems as problems
from tests.integration.git_builders import a_repository, direct, git
from tests.skill_calls import Bench, action


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return a_repository(tmp_path / "repository")


@pytest.fixture
def bench(tmp_path: Path, repository: Path) -> Bench:
    return Bench(tmp_path / "calls", {"repository": str(repository)})


def test_the_branch_of_the_example_is_made_and_its_undo_deletes_it(bench, repository):
    params = {"name": "feature/PROJ-123-new-feature"}

    made = bench.good("git-operations.create-branch", params)

    assert git(repository, "rev-parse", params["name"]) == git(
        repository, "rev-parse", "HEAD"
    )
    undo = {
        "name": made.output["branch"],
        "commit": made.output["commit"],
        "repository": made.output["repository"],
    }
    assert bench.good("git-operations.delete-branch", undo).output["deleted"]
    assert git(repository, "branch", "--format=%(refname:short)") == "main"


def test_making_a_branch_twice_for_one_step_run_is_making_it_once(bench, repository):
    first = bench.good("git-operations.create-branch", {"name": "work"}, key="a")

    again = bench.good("git-operations.create-branch", {"name": "work"}, key="a")

    assert again == first
    assert bench.code("git-operations.create-branch", {"name": "work"}, key="b") == (
        "git.branch_exists"
    )


NAMED = [
    ("git-operations.create-branch", "name"),
    ("git-operations.delete-branch", "name"),
    ("git-operations.delete-default-branch", "name"),
    ("git-operations.commit-files", "branch"),
    ("git-operations.revert", "branch"),
    ("git-operations.tag", "name"),
    ("git-operations.untag", "name"),
]


BAD_NAMES = [
    "-f", "--delete", "a..b", "a b", "a~1", "a^", "a:b", "a\\b", ".a", "a.lock", "a/", "/a",
    "a//b", "@{-1}", "a\nb", "a\x7f", "HEAD", "FETCH_HEAD", "@", "refs/heads/x", "x\n",
    "a\u202eb", "a\u200bb", "a\u2066b", "a\u00adb", "a\u3164", "a" * 40, "",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "param", "value"),
    [(*NAMED[0], value) for value in BAD_NAMES]
    + [(*named, "a\u202eb") for named in NAMED[1:]],
)
def test_a_name_that_git_or_a_person_would_misread_is_refused(
    bench, repository, name, param, value
):
    params = {"message": "m", "commit": "main", param: value}
    before = git(repository, "for-each-ref")

    outcome = direct(bench, name, params)

    assert (outcome.code, outcome.before_effect) == ("git.bad_name", True)
    assert git(repository, "for-each-ref") == before
    assert bench.check(name, params) == ["git.bad_name"]
    assert bench.dry_run(name, params).summary.startswith("Would fail: ")
    assert problems(action(name).input_schema["properties"][param], value)


@pytest.mark.parametrize(
    "name", ["release/1.2", "ü-ö", "HEADS", "a@b", "v1", "x.lock2"]
)
def test_an_ordinary_name_is_taken(bench, repository, name):
    bench.good("git-operations.create-branch", {"name": name})

    assert git(repository, "rev-parse", f"refs/heads/{name}")


@pytest.mark.parametrize(
    "start", ["--all", "nothing", "-1", "HEAD~99", "main; rm -rf /"]
)
def test_a_start_that_names_no_commit_is_refused(bench, start):
    params = {"name": "work", "from": start}

    assert bench.code("git-operations.create-branch", params) == "git.no_commit"


def test_a_branch_that_has_moved_is_not_deleted(bench, repository):
    made = bench.good("git-operations.create-branch", {"name": "work"})
    bench.good(
        "git-operations.commit-files",
        {"branch": "work", "message": "m", "files": {"a": "1"}},
    )

    params = {"name": "work", "commit": made.output["commit"]}

    assert bench.code("git-operations.delete-branch", params) == "git.moved"
    assert git(repository, "rev-parse", "--verify", "work")


def test_the_branch_that_is_checked_out_stays(bench):
    assert (
        bench.code("git-operations.delete-branch", {"name": "main"})
        == "git.checked_out"
    )
    params = {"branch": "main", "message": "m", "files": {"a": "1"}}
    assert bench.code("git-operations.commit-files", params) == "git.checked_out"


def test_the_default_branch_is_deleted_only_by_an_action_of_high_risk(
    tmp_path, repository
):
    bare = tmp_path / "bare.git"
    git(repository, "clone", "-q", "--bare", str(repository), str(bare))
    bench = Bench(tmp_path / "calls", {"repository": str(bare)})
    delete, delete_default = (
        "git-operations.delete-branch",
        "git-operations.delete-default-branch",
    )
    bench.good("git-operations.create-branch", {"name": "work"})

    outcome = bench.run(delete, {"name": "main"})

    assert isinstance(outcome, Failed)
    assert outcome.code == "git.default_branch"
    assert "delete-default-branch" in outcome.message
    assert bench.check(delete, {"name": "main"}) == ["git.default_branch"]
    assert bench.code(delete_default, {"name": "work"}) == "git.not_default_branch"
    assert action(delete_default).risk is Risk.HIGH
    gone = bench.good(delete_default, {"name": "main"})
    assert gone.output["deleted"]
    undo = {"name": "main", "from": gone.output["commit"]}
    bench.good("git-operations.create-branch", undo)
    assert git(bare, "rev-parse", "main") == gone.output["commit"]


def test_a_refusal_by_git_does_not_name_places_of_the_host(bench, repository):
    bench.good("git-operations.create-branch", {"name": "work"})
    repository.joinpath(".git/refs/heads/work.lock").touch()

    outcome = bench.run("git-operations.delete-branch", {"name": "work"})

    assert isinstance(outcome, Failed)
    assert outcome.code == "git.failed"
    assert str(repository.parent) not in outcome.message


def test_a_tag_is_made_once_and_untagged_only_as_itself(bench, repository):
    params = {"name": "v1.0", "target": "main", "message": "First\nrelease"}

    made = bench.good("git-operations.tag", params, key="a")

    assert bench.good("git-operations.tag", params, key="a") == made
    assert bench.code("git-operations.tag", params, key="b") == "git.tag_exists"
    assert git(repository, "cat-file", "-t", "v1.0") == "tag"
    assert git(repository, "rev-parse", "v1.0^{commit}") == made.output["commit"]
    git(repository, "fsck", "--strict")
    other = {"name": "v1.0", "object": "0" * 39 + "1"}
    assert bench.code("git-operations.untag", other) == "git.moved"
    undo = {"name": "v1.0", "object": made.output["object"]}
    assert bench.good("git-operations.untag", undo).output["deleted"]
    assert not bench.good("git-operations.untag", undo).output["deleted"]


def test_hooks_and_filters_of_the_repository_do_not_run(bench, repository, tmp_path):
    witness = tmp_path / "witness"
    for name in ("reference-transaction", "pre-commit", "post-commit", "post-checkout"):
        hook = repository / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\necho {name} >> {witness}\n")
        hook.chmod(0o755)
    git(
        repository,
        "config",
        "filter.evil.clean",
        f"sh -c 'echo filter >> {witness}; cat'",
    )
    git(repository, "config", "core.fsmonitor", f"sh -c 'echo fsmonitor >> {witness}'")
    repository.joinpath(".git/info/attributes").write_text("* filter=evil\n")

    bench.good("git-operations.create-branch", {"name": "work"})
    bench.good(
        "git-operations.commit-files",
        {"branch": "work", "message": "m", "files": {"a": "1"}},
    )
    bench.good("git-operations.tag", {"name": "v1"})

    assert not witness.exists()


def test_a_bare_repository_works_too_and_others_are_named(tmp_path, repository):
    bare = tmp_path / "bare.git"
    git(repository, "clone", "-q", "--bare", str(repository), str(bare))
    bench = Bench(tmp_path / "calls", {"repositories": {"shared": str(bare)}})

    made = bench.good(
        "git-operations.create-branch", {"name": "work", "repository": "shared"}
    )
    again = bench.run(
        "git-operations.create-branch",
        {"name": "work", "repository": "shared"},
        key="key-1",
    )

    assert git(bare, "rev-parse", "work") == made.output["commit"]
    assert isinstance(again, Succeeded)
    assert (
        bench.code("git-operations.create-branch", {"name": "x"}) == "git.no_repository"
    )
    assert bench.check("git-operations.tag", {"name": "x"}) == ["git.no_repository"]


def test_a_folder_that_is_no_repository_is_said(tmp_path):
    bench = Bench(tmp_path / "calls", {"repository": str(tmp_path)})

    assert (
        bench.code("git-operations.create-branch", {"name": "work"})
        == "git.no_repository"
    )


def test_the_dry_run_says_where_the_branch_would_start_and_makes_none(
    bench, repository
):
    preview = bench.dry_run("git-operations.create-branch", {"name": "work"})

    assert preview.output["commit"] == git(repository, "rev-parse", "HEAD")
    assert git(repository, "branch", "--format=%(refname:short)") == "main"
