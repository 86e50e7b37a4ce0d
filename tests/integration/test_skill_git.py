"""Branches, commits and tags with the real git, and their undoing."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestration.skills import installed
from orchestration.skills.domain.contract import Risk
from orchestration.skills.domain.outcome import Failed, Succeeded
from orchestration.skills.execution import schema_problems as problems
from tests.skill_calls import Bench, action, as_file


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


def direct(bench: Bench, name: str, params: dict[str, Any]) -> Any:
    """Call a handler with params that its schema refuses."""
    registered = installed.find(action(name).handler)
    assert registered is not None
    return registered.run(bench.call(params))


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
