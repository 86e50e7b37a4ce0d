"""Every command in the documents runs, in order, against a live installation.

A block of `sh` is run as it is written; words such as `RUN_ID` are filled in. The exit
code is 0 unless a comment says `exits with N`. A block after
"Save this as `plan.yaml`:" is written to that file before the commands run.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from execfabric.local import postgres
from tests.browser import stack
from tests.browser.stack import Stack
from tests.documents import DOCUMENTS, PROJECT, Block, all_blocks, blocks
from tests.servers import eventually

LANGUAGES = {
    "yaml": "a plan: test_documented_plans.py runs it",
    "sh": "commands: run here",
    "python": "a file that the commands of its document use",
    "json": "parsed here; a block may be a file, named in the text before it",
    "ini": "a unit of systemd: compared with the Procfile",
}
NOT_RUN = {
    r"make (up|down|test|bench|chaos|failures|mutants|random)\b": "only printed by `make -n`:"
    " they take long, or start an installation; test_up_and_down.py runs `up` and `down`",
    r"(sudo )?(systemctl|apt-get|useradd)\b": "needs a machine of its own and root",
    r"pip install\b": "downloads a release",
}
"""Commands whose syntax alone is checked, with the reason."""
REFUSED = {
    "step resolve": (5, "no worker has died, so no outcome is unknown"),
}
"""Commands that reach the server and are refused there, with exit code and reason."""
PYTHON = """#!/bin/bash
output="{known}/${{*// /_}}"
repeated="^manage.py (migrate|grant_app_role|collectstatic --no-input|create_token demo-[a-z]+)$"
if [[ "$*" =~ $repeated ]]; then
  [ -e "$output" ] || {python} "$@" > "$output" || exit
  exec cat "$output"
fi
exec {python} "$@"
"""
"""Runs commands that several documents begin with, and that take seconds, only once."""
EXITS = re.compile(r"# .*\bexits with (\d)")
ID = "SELECT id FROM runs_run ORDER BY created_at DESC, id DESC LIMIT 1"
GATE = f"""SELECT gate.id, encode(digest, 'hex') FROM approvals_gate AS gate
    WHERE settled_at IS NULL AND context_id = ({ID})
    AND NOT EXISTS (SELECT FROM runs_dryrun AS dry_run
    WHERE dry_run.run_id = context_id AND finished_at IS NULL)"""
FAILED_STEP = f"""SELECT id FROM runs_steprun
    WHERE state = 'failed' AND run_id = ({ID})"""
HOOK = "SELECT id FROM triggers_hook WHERE state <> 'deleted' ORDER BY id"
STOP = "SELECT id FROM runs_stop WHERE lifted_at IS NULL ORDER BY id"
SCHEDULE = "SELECT id FROM triggers_schedule WHERE state <> 'deleted' ORDER BY id"
TOKEN = "SELECT id FROM accounts_token WHERE revoked_at IS NULL ORDER BY created_at"


@dataclass
class Reader:
    """Runs commands in one folder, as a person who follows a document."""

    live: Stack
    folder: Path
    env: dict[str, str]
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.folder / ".state"
        self.state.touch()

    def run(self, command: str) -> None:
        """Run a command in the shell that the ones before it left."""
        if any(re.match(pattern, command) for pattern in NOT_RUN):
            self._only_read(command)
            return
        code = int(match[1]) if (match := EXITS.search(command)) else 0
        for words, (refused, _) in REFUSED.items():
            code = refused if words in command else code
        script = (
            f"shopt -s expand_aliases\nsource {self.state}\n"
            f"trap 'export -p > {self.state}; alias -p >> {self.state}' EXIT\n"
        )
        done = self._bash(script + self._filled(command))
        assert done.returncode == code, (command, done.stdout, done.stderr)

    def _only_read(self, command: str) -> None:
        if command.startswith("make "):
            command = command.replace("make ", "make -n ", 1)
            assert self._bash(command).returncode == 0, command

    def _filled(self, command: str) -> str:
        for word, value in PLACEHOLDERS.items():
            if re.search(rf"\b{word}\b", command):
                command = re.sub(rf"\b{word}\b", value(self.live), command)
        return command

    def _bash(self, script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def _run(live: Stack) -> str:
    return str(live.rows(ID)[0][0])


def _gate(live: Stack) -> tuple[str, str]:
    """Return id and digest of the open gate of the newest run, when it can be decided."""
    assert eventually(lambda: live.rows(GATE), within=60)
    gate, digest = live.rows(GATE)[0]
    return str(gate), str(digest)


def _failed_step(live: Stack) -> str:
    assert eventually(lambda: live.rows(FAILED_STEP), within=60)
    return str(live.rows(FAILED_STEP)[0][0])


PLACEHOLDERS: dict[str, Callable[[Stack], str]] = {
    "RUN_ID": _run,
    "GATE_ID": lambda live: _gate(live)[0],
    "DIGEST": lambda live: _gate(live)[1],
    "TOKEN_ID": lambda live: str(live.rows(TOKEN)[-1][0]),
    "SCHEDULE_ID": lambda live: str(live.rows(SCHEDULE)[-1][0]),
    "HOOK_ID": lambda live: str(live.rows(HOOK)[-1][0]),
    "STOP_ID": lambda live: str(live.rows(STOP)[-1][0]),
    "FAILED_STEP_ID": _failed_step,
    "STEP_RUN_ID": lambda live: "019a0000-0000-7000-8000-000000000000",
}


@pytest.fixture(scope="module")
def modules() -> Iterator[list[str]]:
    """Install the Python files of the documents, as a package would be."""
    folder = Path(sysconfig.get_path("purelib"))
    files = {folder / block.file_name: block.text for block in all_blocks("python")}
    for file, text in files.items():
        file.write_text(text)
    yield [file.stem for file in files]
    for file in files:
        file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def live(modules: list[str]) -> Iterator[Stack]:
    handlers = ",".join(["tests.handlers", *modules])
    with stack.running(EXECFABRIC_EXTRA_HANDLERS=handlers) as made:
        yield made


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the output of commands that run once for all documents."""
    return tmp_path_factory.mktemp("known")


@pytest.fixture
def reader(live: Stack, tmp_path: Path, known: Path) -> Reader:
    for path in PROJECT.iterdir():
        if path.name not in {".git", ".data", ".venv"}:
            (tmp_path / path.name).symlink_to(path)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for program in Path(sys.executable).parent.iterdir():
        (programs / program.name).symlink_to(program)
    (programs / "python").unlink()
    (programs / "python").write_text(PYTHON.format(python=sys.executable, known=known))
    (programs / "python").chmod(0o755)
    env = {**os.environ, **live.env}
    folders = (Path(sys.executable).parent, postgres.binary("pg_dump").parent)
    env["PATH"] = ":".join(map(str, [*folders, env["PATH"]]))
    env |= {
        "EXECFABRIC_URL": live.url,
        "OWNER_DATABASE_URL": live.endpoints.owner_database_url,
        "COLUMNS": "200",
    }
    return Reader(live, tmp_path, env)


def commands(block: Block) -> Iterator[str]:
    """Yield the commands of a block: lines that bash can read as a whole."""
    command = ""
    for line in block.text.splitlines():
        command = f"{command}\n{line}" if command else line
        read = subprocess.run(
            ["bash", "-n", "-c", command], capture_output=True, check=False
        )
        if not line.endswith("\\") and not read.returncode and not read.stderr:
            yield command
            command = ""
    assert not command, f"{block}: bash cannot read {command!r}"


def first_run_first(path: Path) -> tuple[bool, str]:
    """Order documents so that the run of the demo is still the newest."""
    return path.name != "first-run.md", path.name


WITH_COMMANDS = sorted(
    {PROJECT / block.document for block in all_blocks("sh")}, key=first_run_first
)


def test_every_block_is_of_a_language_that_is_checked() -> None:
    others = [str(block) for block in all_blocks() if block.language not in LANGUAGES]

    assert others == []
    assert {path.name for path in WITH_COMMANDS} >= {"README.md", "first-run.md"}
    assert set(WITH_COMMANDS) <= set(DOCUMENTS)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize("path", WITH_COMMANDS, ids=lambda path: path.stem)
def test_the_commands_of_a_document_run(path: Path, reader: Reader) -> None:
    for block in blocks(path):
        if block.file_name:
            (reader.folder / block.file_name).write_text(block.text)
    for block in blocks(path):
        if block.language == "sh":
            for command in commands(block):
                reader.run(command)


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_every_json_block_is_json(block: Block) -> None:
    assert json.loads(block.text) is not None


@pytest.mark.parametrize("block", all_blocks("ini"), ids=str)
def test_every_unit_starts_what_the_procfile_starts(block: Block) -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block.text)
    lines = [
        re.sub(r"\$\{(\w+):-[^}]*\}", r"${\1}", line.partition(": ")[2])
        for line in (PROJECT / "Procfile").read_text().splitlines()
    ]

    folder = unit["Service"]["WorkingDirectory"]
    command = unit["Service"]["ExecStart"].replace("%%", "%")

    assert command.removeprefix(f"{folder}/.venv/bin/") in lines
