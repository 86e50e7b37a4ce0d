"""Branches, commits and tags with the real git, and their undoing."""

import os
import subprocess
from pathlib import Path

import pytest

from orchestration.skills import builtin
from orchestration.skills.domain.outcome import Failed, Succeeded
from tests.skill_calls import Bench, as_file


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


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    path.joinpath("README").write_text("first\n")
    git(path, "add", "README")
    git(path, "commit", "-q", "-m", "first")
    return path


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


@pytest.mark.parametrize(
    "name",
    ["-f", "--delete", "a..b", "a b", "a~1", "a^", "a:b", "a\\b", ".a", "a.lock", "a/", "/a",
     "a//b", "@{-1}", "a\nb", "a\x7f"],
)  # fmt: skip
def test_a_name_that_git_would_misread_is_refused(bench, name):
    assert bench.code("git-operations.create-branch", {"name": name}) == "git.bad_name"


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


def test_a_commit_leaves_working_tree_and_index_alone_and_revert_takes_it_back(
    bench, repository, tmp_path
):
    repository.joinpath("README").write_text("edited by hand\n")
    before = git(repository, "status", "--porcelain")
    bench.good("git-operations.create-branch", {"name": "work"})
    table = as_file(tmp_path / "table.csv", b"a,b\r\n1,2\r\n")

    made = bench.good(
        "git-operations.commit-files",
        {"branch": "work", "message": "Add\n\nlonger", "files": {"data/table.csv": table, "ü x": "1"},
         "delete": ["README"]},
    )  # fmt: skip

    assert git(repository, "ls-tree", "-r", "-z", "--name-only", "work").split("\0")[:2] == [
        "data/table.csv", "ü x"]  # fmt: skip
    assert git(repository, "cat-file", "-s", "work:data/table.csv") == str(table.size)
    assert git(repository, "status", "--porcelain") == before
    undo = {key: made.output[key] for key in ("branch", "commit", "repository")}
    back = bench.good("git-operations.revert", undo)
    assert git(repository, "rev-parse", "work^{tree}") == git(
        repository, "rev-parse", "main^{tree}"
    )
    assert sorted(back.output["paths"]) == sorted(made.output["paths"])
    assert git(repository, "rev-list", "--count", "work") == "3"


def test_committing_twice_for_one_step_run_is_committing_once(bench, repository):
    bench.good("git-operations.create-branch", {"name": "work"})
    params = {"branch": "work", "message": "m", "files": {"a": "1"}}

    first = bench.good("git-operations.commit-files", params, key="a")
    again = bench.good("git-operations.commit-files", params, key="a")

    assert again == first
    assert git(repository, "rev-list", "--count", "work") == "2"
    assert (
        bench.code("git-operations.commit-files", params, key="b")
        == "git.nothing_to_commit"
    )


@pytest.mark.parametrize(
    "path", ["../out", "/abs", ".git/config", "a/../../b", "a//b", "x/.GIT/y"]
)
def test_a_path_outside_the_tree_or_into_git_itself_is_refused(bench, repository, path):
    bench.good("git-operations.create-branch", {"name": "work"})
    call = bench.call({"branch": "work", "message": "m", "files": {path: "1"}})
    registered = builtin.find("git-operations.commit-files@1")
    assert registered is not None

    outcome = registered.run(call)

    assert isinstance(outcome, Failed)
    assert git(repository, "rev-parse", "work") == git(repository, "rev-parse", "main")


def test_what_was_changed_again_since_is_not_reverted(bench, repository):
    bench.good("git-operations.create-branch", {"name": "work"})
    first = bench.good(
        "git-operations.commit-files",
        {"branch": "work", "message": "1", "files": {"a": "1", "b": "1"}},
    )
    other = {"branch": "work", "message": "2", "files": {"c": "2"}}
    bench.good("git-operations.commit-files", other)
    undo = {"branch": "work", "commit": first.output["commit"]}
    bench.good("git-operations.revert", undo)
    assert git(repository, "ls-tree", "--name-only", "work").split() == ["README", "c"]

    again = bench.good(
        "git-operations.commit-files",
        {"branch": "work", "message": "3", "files": {"a": "3"}},
    )
    bench.good(
        "git-operations.commit-files",
        {"branch": "work", "message": "4", "files": {"a": "4"}},
    )

    undo = {"branch": "work", "commit": again.output["commit"]}
    assert bench.code("git-operations.revert", undo) == "git.conflict"


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
