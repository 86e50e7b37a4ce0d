"""The lines of the Procfile, as a process manager runs them: each in a shell."""

import os
import subprocess
from pathlib import Path

import pytest

from execfabric.local import commands
from execfabric.local.layout import PROJECT

SAYS_ITS_ARGUMENTS = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"


def line_of(name: str) -> str:
    for line in (PROJECT / "Procfile").read_text().splitlines():
        process, _, command = line.partition(": ")
        if process == name:
            return command
    raise LookupError(name)


class Shell:
    """Runs worker lines with a program that says its arguments in Celery's place."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        program = folder / "celery"
        program.write_text(SAYS_ITS_ARGUMENTS)
        program.chmod(0o755)

    def arguments(self, **env: str) -> list[str]:
        inherited = {k: v for k, v in os.environ.items() if "WORKER" not in k}
        path = f"{self.path}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", line_of("worker")],
            env=inherited | {"PATH": path} | env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    def node(self, **env: str) -> str:
        given = self.arguments(**env)
        return given[given.index("-n") + 1]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_two_workers_on_one_host_have_names_of_their_own(shell: Shell) -> None:
    first, second = shell.node(), shell.node()

    assert first != second
    assert all(node.endswith("@%h") for node in (first, second))


def test_a_worker_can_be_named(shell: Shell) -> None:
    assert shell.node(EXECFABRIC_WORKER_NAME="blue") == "blue@%h"


def test_the_worker_of_the_procfile_is_the_one_that_up_starts(shell: Shell) -> None:
    ours = commands.worker({}, concurrency=2, name="w").argv

    theirs = shell.arguments(EXECFABRIC_WORKER_NAME=f"w-{os.getpid()}")

    assert theirs == ours[ours.index("-A") :]
