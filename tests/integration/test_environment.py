"""The script that creates the virtual environment, called by several `make`.

With an empty list of packages, so that nothing is downloaded; the rest is real.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from execfabric.local.layout import PROJECT
from tests.servers import eventually


class Environment:
    """A folder, and the script that creates an environment in it."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "an environment"
        self.requirements = home / "requirements.txt"
        self.requirements.write_text("")
        self.stamp = self.folder / ".stamp-runtime-1"
        self.python = self.folder / "bin" / "python"
        self.unfinished = self.folder / ".unfinished"

    def start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, str(PROJECT / ".ci" / "environment.py")]
        command += [str(self.folder), "--requirements", str(self.requirements)]
        return subprocess.Popen(
            [*command, "--stamp", str(self.stamp)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def make(self) -> str:
        """Create it; return the output."""
        with self.start() as started:
            _, said = started.communicate(timeout=120)
        assert started.returncode == 0, said
        return said

    @property
    def works(self) -> bool:
        asking = [str(self.python), "-m", "pip", "check"]
        done = subprocess.run(asking, capture_output=True, check=False)
        return self.stamp.exists() and done.returncode == 0


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


@pytest.fixture(scope="module")
def folder_to_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    created = Environment(tmp_path_factory.mktemp("created"))
    created.make()
    return created.folder


@pytest.fixture
def complete(environment: Environment, folder_to_copy: Path) -> Environment:
    """Copy a complete environment, which is faster than installing one."""
    subprocess.run(["cp", "-a", folder_to_copy, environment.folder], check=True)
    assert environment.works
    return environment


def test_two_at_once_create_it_once(environment: Environment) -> None:
    with environment.start() as first:
        assert eventually(environment.unfinished.exists)
        second = environment.make()
        _, said = first.communicate(timeout=60)

    assert first.returncode == 0
    assert "Installing" in said
    assert "waiting for it" in second
    assert "Installing" not in second
    assert environment.works


def test_a_complete_environment_is_not_changed(complete: Environment) -> None:
    assert complete.make() == ""


def test_an_interrupted_creation_starts_again(environment: Environment) -> None:
    with environment.start() as killed:
        assert eventually(environment.python.exists)
        os.killpg(killed.pid, signal.SIGKILL)
    assert not (environment.python.parent / "pip").exists()
    assert not environment.works

    output = environment.make()

    assert "is incomplete: creating it again" in output
    assert environment.works


def test_an_interrupted_installation_starts_again(complete: Environment) -> None:
    complete.stamp.unlink()
    # As pip leaves it when it is killed between the description and the code.
    half = complete.folder / "half"
    half.mkdir()
    complete.unfinished.touch()
    assert not complete.works

    output = complete.make()

    assert "is incomplete: creating it again" in output
    assert complete.works
    assert not half.exists()


def test_an_environment_without_pip_is_created_again(environment: Environment) -> None:
    command = [sys.executable, "-m", "venv", "--without-pip", str(environment.folder)]
    subprocess.run(command, check=True)

    environment.make()

    assert environment.works


def test_the_lock_is_held_by_an_installer_that_outlives_its_caller(
    environment: Environment,
) -> None:
    with environment.start() as killed:
        assert eventually(environment.python.exists)
        os.kill(killed.pid, signal.SIGKILL)
    orphaned = environment.make()

    assert "waiting for it" in orphaned
    assert environment.works


def test_a_folder_that_cannot_be_written_is_reported(environment: Environment) -> None:
    environment.folder.write_text("a file in its place")

    with environment.start() as refused:
        _, said = refused.communicate(timeout=30)

    assert refused.returncode == 1
    assert said.startswith(f"Cannot create {environment.folder}: file exists.")
    assert "Traceback" not in said
