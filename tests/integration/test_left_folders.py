"""What a program leaves in its folder is read and removed without following links."""

import os
import resource
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from execfabric.lib.refusal import Refusal
from orchestration.runs.engine import artifacts
from orchestration.skills.domain.outcome import Failed, Succeeded
from orchestration.skills.execution import folders, sandbox
from orchestration.skills.execution import runner as execution
from orchestration.skills.execution.outputs import validate_output
from tests import ordinary
from tests.skill_calls import Bench, action

LONG = "d" * 60
DEEP = 100
"""Longer than any path and deeper than the open files that are allowed."""
needs_sandbox = pytest.mark.skipif(
    not sandbox.self_test().works, reason="the sandbox does not work here"
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "calls")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Create a folder on the host with names that must not be returned."""
    made = tmp_path / "host"
    (made / "private").mkdir(parents=True)
    for number in range(20):
        (made / f"hostname-{number}").write_text("secret")
    return made


def sh(bench: Bench, script: str, **params: object):
    return bench.run("command.run", {"argv": ["/bin/sh", "-c", script], **params})


@needs_sandbox
@pytest.mark.parametrize(
    "script",
    [
        "rm -rf out; ln -s {host} out",
        "rm -rf out; ln -s {host}/ out; true",
        "rm -rf out; echo x > out",
        "rm -rf out; mkfifo out",
        "rm -rf out; ln -s / out",
        "rm -rf out; ln -s out out",
        "rm -rf out; ln -s ../../.. out",
    ],
)
def test_out_that_is_no_folder_any_more_is_refused_and_names_nothing(
    bench, host, script
):
    outcome = sh(bench, script.format(host=host))

    assert isinstance(outcome, Failed)
    assert outcome.code == "command.out_replaced"
    assert "hostname" not in outcome.message
    assert str(host) not in outcome.message


@needs_sandbox
@pytest.mark.parametrize(
    "script",
    ["ln -s {host} out/way", "mkdir out/a; ln -s {host} out/a/b", "mkfifo out/pipe"],
)
def test_links_and_pipes_below_out_are_left_out(bench, host, script):
    outcome = sh(bench, script.format(host=host) + "; echo x > out/own")

    assert outcome.output["names"] == ["own"]


@needs_sandbox
def test_a_program_may_remove_its_out(bench):
    assert sh(bench, "rm -rf out").output["names"] == []


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "script"),
    [
        (
            "limits.disk",
            'perl -e \'chdir "out"; for (1..60) { mkdir "d"; chdir "d" }\'',
        ),
        (
            "command.too_many_files",
            "perl -e 'for (1..300) { open F, \">out/$_\"; close F }'",
        ),
    ],
    ids=["deep", "many"],
)
def test_a_tree_without_bounds_is_refused_and_removed(bench, monkeypatch, code, script):
    monkeypatch.setattr(folders, "MOST_ENTRIES", 200)

    outcome = sh(bench, script)

    assert isinstance(outcome, Failed)
    assert outcome.code == code
    execution.discard(bench.folder)
    assert not bench.folder.exists()


def test_a_file_that_became_a_link_after_the_check_is_not_stored(tmp_path, host):
    folder = tmp_path / "call"
    (folder / "out").mkdir(parents=True)
    path = folder / "out" / "file"
    path.write_text("own")
    command = action("command.run")
    outcome = Succeeded(output={}, files={"out": [path]})
    assert "not a plain file" not in str(validate_output(command, outcome, folder))

    path.unlink()
    path.symlink_to(host / "hostname-1")
    with pytest.raises(Refusal) as refused:
        artifacts.store(
            outcome.files, folder=folder, step_run_id=uuid4(), at=datetime.now(UTC)
        )
    (folder / "out").rename(folder / "moved")
    (folder / "out").symlink_to(host)
    with pytest.raises(Refusal):
        artifacts.store(
            {"out": folder / "out" / "hostname-2"},
            folder=folder,
            step_run_id=uuid4(),
            at=datetime.now(UTC),
        )

    assert refused.value.code == "artifact.not_plain"
    assert "hostname" not in str(refused.value)


@pytest.mark.parametrize("way", ["../outside", "out/../../outside", "/etc/passwd"])
def test_a_path_that_leaves_the_folder_is_not_opened(tmp_path, way):
    folder = tmp_path / "call"
    (folder / "out").mkdir(parents=True)
    (tmp_path / "outside").write_text("x")

    with pytest.raises(folders.NotPlain), folders.opened_file(folder, folder / way):
        pass


def test_removal_follows_no_link(tmp_path, host):
    folder = tmp_path / "call"
    (folder / "a").mkdir(parents=True)
    (folder / "way").symlink_to(host)
    (folder / "a" / "way").symlink_to(host)

    execution.discard(folder)

    assert not folder.exists()
    assert len([*host.iterdir()]) == 21


def _closed_and_deep(folder: Path) -> bool:
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/f").write_text("x")
    (folder / "a/b").chmod(0)
    (folder / "a").chmod(0)
    (folder / "deep").mkdir()
    os.chdir(folder / "deep")
    for _ in range(DEEP):
        os.mkdir(LONG)  # noqa: PTH102 - the path would be too long
        os.chdir(LONG)
    os.chdir("/")
    # The limit counts numbers, and the process of the tests has some open already.
    few = max(int(fd.name) for fd in Path("/proc/self/fd").iterdir()) + 32
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
    folders.remove(folder)
    return folder.exists()


def test_removal_manages_closed_folders_and_any_depth():
    """As an ordinary user: permissions do not stop root."""
    user = os.getuid() or ordinary.NOBODY
    with ordinary.folder_of(user) as made:
        folder = made / "call"

        assert ordinary.as_user(user, lambda: _closed_and_deep(folder)) is False


def test_removing_what_is_not_there_or_is_a_link_is_fine(tmp_path, host):
    way = tmp_path / "way"
    way.symlink_to(host)

    execution.discard(tmp_path / "nothing")
    execution.discard(way)

    assert host.exists()
    assert not way.is_symlink()
