"""Commits with the real git, and their undoing."""

import os
import shutil
from pathlib import Path

import pytest

from orchestration.skills.domain.outcome import Failed
from orchestration.skills.execution import schema_problems as problems
from tests.integration.git_builders import a_repository, direct, git
from tests.skill_calls import Bench, action, as_file


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return a_repository(tmp_path / "repository")


@pytest.fixture
def bench(tmp_path: Path, repository: Path) -> Bench:
    return Bench(tmp_path / "calls", {"repository": str(repository)})


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


PATHS = ["../out", "/abs", ".git/config", ".git/d", "a/../../b", "sub/../c", "a//b",
         "x/.GIT/y", "a/", ".", "./a", "a\\b", "a\nb", "a\u202eb", ".git.", "git~1/x", ""]  # fmt: skip


@pytest.mark.parametrize("key", ["files", "delete"])
@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_git_would_drop_or_misread_is_refused(bench, repository, path, key):
    """Each of these once made a commit without the path, or none, and no error."""
    params = {"branch": "work", "message": "m", "files": {"good.txt": "1"}}
    if key == "files":
        params["files"][path] = "1"
    else:
        params["delete"] = [path]

    refused(bench, repository, params, "git.bad_path")

    assert problems(action("git-operations.commit-files").input_schema, params)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        pytest.param({"files": {"README/inner": "1"}}, "git.path_conflict", id="below a file"),
        pytest.param({"files": {"docs": "1"}}, "git.path_conflict", id="over a folder"),
        pytest.param({"files": {"x": "1", "x/y": "1"}}, "git.path_conflict", id="both"),
        pytest.param({"files": {"link": "1"}}, "git.not_plain", id="through a link"),
        pytest.param({"delete": ["does-not-exist"]}, "git.no_path", id="unknown deletion"),
        pytest.param({"delete": ["docs"]}, "git.no_path", id="deletion of a folder"),
        pytest.param({"delete": ["README", "README"]}, "git.bad_path", id="deleted twice"),
        pytest.param(
            {"files": {"README": "1"}, "delete": ["README"]}, "git.bad_path", id="written too"
        ),
    ],
)  # fmt: skip
def test_a_change_that_would_do_more_or_less_than_it_says_is_refused(
    bench, repository, params, code
):
    repository.joinpath("link").symlink_to("README")
    repository.joinpath("docs").mkdir()
    repository.joinpath("docs/a").write_text("a")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "more")

    refused(bench, repository, {"branch": "work", "message": "m", **params}, code)


def refused(bench, repository, params, code):
    """Check that a commit is refused: beforehand, and without any effect."""
    bench.good("git-operations.create-branch", {"name": "work"})
    name = "git-operations.commit-files"

    outcome = direct(bench, name, params)

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.before_effect) == (code, True)
    assert git(repository, "rev-parse", "work") == git(repository, "rev-parse", "main")
    assert bench.check(name, params) == [code]
    assert bench.dry_run(name, params).summary == f"Would fail: {outcome.message}"


def test_a_file_gives_way_to_a_folder_where_its_deletion_is_approved_too(
    bench, repository
):
    bench.good("git-operations.create-branch", {"name": "work"})
    params = {"files": {"README/inner": "1"}, "delete": ["README"]}

    made = bench.good(
        "git-operations.commit-files", {"branch": "work", "message": "m", **params}
    )

    assert made.output["paths"] == ["README", "README/inner"]


def test_a_program_stays_executable_when_its_content_changes(bench, repository):
    repository.joinpath("run.sh").write_text("old")
    repository.joinpath("run.sh").chmod(0o755)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "more")
    bench.good("git-operations.create-branch", {"name": "work"})

    files = {"run.sh": "new"}
    bench.good(
        "git-operations.commit-files",
        {"branch": "work", "message": "m", "files": files},
    )

    assert git(repository, "ls-tree", "work", "run.sh").startswith("100755 ")


def faulty_git(folder: Path, monkeypatch: pytest.MonkeyPatch, word: str, instead: str):
    """Put a git before the real one that does something else for one command."""
    real = shutil.which("git")
    folder.mkdir()
    script = folder / "git"
    script.write_text(
        f'#!/bin/sh\ncase " $* " in *" {word} "*) {instead};; esac\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    "instead",
    [
        pytest.param("cat >/dev/null; exit 0", id="does nothing"),
        pytest.param('head -z -n 1 | exec {real} "$@"; exit 0', id="drops a path"),
    ],
)
def test_a_commit_that_differs_from_what_was_approved_is_not_published(
    bench, repository, tmp_path, monkeypatch, instead
):
    bench.good("git-operations.create-branch", {"name": "work"})
    files = {"a": "1", "b": "2"}
    params = {"branch": "work", "message": "m", "files": files, "delete": ["README"]}
    instead = instead.replace("{real}", str(shutil.which("git")))
    faulty_git(tmp_path / "bin", monkeypatch, "update-index", instead)

    outcome = bench.run("git-operations.commit-files", params)

    assert isinstance(outcome, Failed)
    assert outcome.code in {"git.effect_differs", "git.nothing_to_commit"}
    assert outcome.before_effect
    assert git(repository, "rev-parse", "work") == git(repository, "rev-parse", "main")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("create-branch", {"name": "new"}),
        ("delete-branch", {"name": "work"}),
        ("commit-files", {"branch": "work", "message": "m", "files": {"a": "1"}}),
        ("tag", {"name": "v2"}),
        ("untag", {"name": "v1"}),
    ],
)
def test_a_ref_that_is_not_where_it_was_put_is_a_failure_after_the_effect(
    bench, tmp_path, monkeypatch, name, params
):
    bench.good("git-operations.create-branch", {"name": "work"})
    bench.good("git-operations.tag", {"name": "v1"})
    faulty_git(tmp_path / "bin", monkeypatch, "update-ref", "exit 0")

    outcome = bench.run(f"git-operations.{name}", params)

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.before_effect) == ("git.effect_differs", False)


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
