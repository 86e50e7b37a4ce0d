"""The escape suite: as root and as an ordinary user, wherever the sandbox works."""

import os
import platform
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.skills.builtin.command import handlers as command
from orchestration.skills.domain.limits import Limits
from orchestration.skills.domain.outcome import Failed, Outcome, Succeeded
from orchestration.skills.execution import sandbox
from tests import escapes, ordinary
from tests.servers import eventually
from tests.skill_calls import SLEEP, Bench, as_file, sleeping

ROOMY = Limits(processes=256, file_mb=256, disk_mb=256)
USERS = [0, ordinary.NOBODY] if os.getuid() == 0 else [os.getuid()]
PYTHON = "/usr/bin/python3"
SHELL = (escapes.FILES, escapes.PROC, escapes.NETWORK, escapes.RIGHTS)
ALONE = ("LD_PRELOAD", "LD_AUDIT", "PATH")
"""Variables that are tried one by one: together they would hide each other."""


@dataclass(frozen=True)
class Host:
    """What the attempts aim at, and the user who makes them."""

    user: int
    folder: Path
    bench: Bench
    token: str
    facts: dict[str, Any]

    def run(
        self,
        *argv: str,
        limits: Limits = ROOMY,
        deadline_s: float = 30,
        **params: Any,
    ) -> Outcome:
        """Run a program as this user; nothing of the host may come back."""
        given = {"argv": list(argv), **params}

        def attempt() -> Outcome:
            call = self.bench.call(given)
            return command.run(replace(call, limits=limits, deadline_s=deadline_s))

        outcome: Outcome = ordinary.as_user(self.user, attempt)
        self.bench._calls += 1
        assert self.token not in repr(outcome)
        return outcome

    def is_whole(self) -> bool:
        """Return True if nothing in the folder of the host has changed."""
        names = {path.name for path in self.folder.iterdir()}
        expected = {"secret", "server", f"name-{self.token}"}
        return names == expected and (self.folder / "secret").read_text() == "secret"


def works_for(user: int) -> bool:
    found: bool = ordinary.as_user(user, lambda: sandbox.self_test.__wrapped__().works)
    return found


@pytest.fixture(scope="module", params=USERS, ids=lambda user: f"uid {user}")
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    if not sandbox.self_test().works or not works_for(request.param):
        pytest.skip("the sandbox does not work here for this user")
    with ExitStack() as stack:
        yield stack.enter_context(a_host(request.param))


@pytest.fixture(autouse=True)
def _worker_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://x")
    monkeypatch.setenv("SECRET_KEY", "x")


@contextmanager
def a_host(user: int) -> Iterator[Host]:
    """Set up what the attempts of a user aim at."""
    with ExitStack() as stack:
        enter = stack.enter_context
        token = secrets.token_hex(6)
        calls = enter(ordinary.folder_of(user))
        folder = enter(ordinary.folder_of(user))
        (folder / "secret").write_text("secret")
        (folder / f"name-{token}").write_text("x")
        six = enter(socket.socket(socket.AF_INET6))
        six.bind(("::1", 0))
        six.listen()
        unix = enter(socket.socket(socket.AF_UNIX))
        unix.bind(str(folder / "server"))
        unix.listen()
        abstract = enter(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0escape-{folder.name}")
        abstract.listen()
        four = enter(socket.create_server(("127.0.0.1", 0)))
        for path in folder.iterdir():
            os.chown(path, user, user)
        victim = ordinary.as_user(user, _sleeper)
        stack.callback(_end, victim)
        facts = {
            "folder": folder,
            "secret": folder / "secret",
            "pid": victim,
            "port": four.getsockname()[1],
            "port6": six.getsockname()[1],
            "unix": folder / "server",
            "abstract": f"escape-{folder.name}",
            "token": "ordinary",
        }
        yield Host(user, folder, Bench(calls), token, facts)


def _sleeper() -> int:
    return os.posix_spawn("/bin/sleep", ["sleep", "900"], {}, setsid=True)


def _end(pid: int) -> None:
    os.kill(pid, 9)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def living(pid: int) -> bool:
    return psutil.pid_exists(pid)


@pytest.mark.parametrize("table", SHELL, ids=["files", "proc", "network", "rights"])
def test_a_shell_does_not_get_out(host, table):
    lines = [
        f"( {script.format(**host.facts)} ) >/dev/null 2>&1 && echo '{name}'"
        for name, script in table.items()
    ]

    outcome = host.run("/bin/sh", "-c", "\n".join([*lines, "echo done"]))

    assert isinstance(outcome, Succeeded)
    assert outcome.output["stdout"].splitlines() == ["done"]
    assert host.is_whole()
    assert living(host.facts["pid"])


def test_a_signal_to_all_reaches_only_its_own(host):
    outcome = host.run("/bin/sh", "-c", "kill -9 -1; exit 1")

    assert isinstance(outcome, Failed)
    assert living(host.facts["pid"])


@pytest.mark.skipif(not Path(PYTHON).exists(), reason="no Python for the sandbox")
def test_a_program_does_not_get_out(host):
    attempts = {name: code.format(**host.facts) for name, code in escapes.CODE.items()}
    code = (
        "import os\n"
        f"for name, code in {attempts!r}.items():\n"
        "    attempt = compile(code, name, 'exec')\n"
        "    if not (child := os.fork()):\n"
        "        try:\n"
        "            exec(attempt, {})\n"
        "            os.write(1, f'{name}\\n'.encode())\n"
        "        finally:\n"
        "            os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "print('done')\n"
    )

    outcome = host.run(PYTHON, "-c", code)

    assert isinstance(outcome, Succeeded), outcome
    assert outcome.output["stdout"].splitlines() == ["done"]
    assert host.is_whole()
    assert living(host.facts["pid"])


@pytest.mark.skipif(not Path(PYTHON).exists(), reason="no Python for the sandbox")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64")
def test_system_calls_that_namespaces_do_not_cover_are_refused(host):
    code = (
        "import ctypes, errno\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"for name, call in {escapes.CALLS!r}.items():\n"
        "    if libc.syscall(*call) != -1 or ctypes.get_errno() != errno.ENOSYS:\n"
        "        print(name)\n"
    )

    outcome = host.run(PYTHON, "-c", code)

    assert isinstance(outcome, Succeeded)
    assert outcome.output["stdout"] == ""


@pytest.mark.parametrize("name", escapes.LINKS)
def test_what_is_left_in_the_folder_leads_nowhere(host, name):
    outcome = host.run("/bin/sh", "-c", escapes.LINKS[name].format(**host.facts))

    if isinstance(outcome, Succeeded):
        named = {Path(item).name for item in outcome.output["names"]}
        assert named <= {"a\nb", "<b>", "-rf"}
    else:
        assert outcome.code == "command.out_replaced"
    assert host.is_whole()


@pytest.mark.parametrize("names", [*zip(ALONE, strict=True), escapes.VARIABLES])
def test_a_variable_reaches_the_program_only(host, names):
    environment = {
        name: escapes.VARIABLES[name].format(**host.facts)
        for name in names
        if len(names) == 1 or name not in ALONE
    }
    text = "import os; os.system('echo x > {folder}/leak')".format(**host.facts)
    library = as_file(host.bench.folder / "x.so", text)

    outcome = host.run(
        "/bin/sh",
        "-c",
        "true",
        files=[library],
        environment={**environment, "LD_DEBUG": "libs"},
    )

    assert isinstance(outcome, Succeeded)
    assert outcome.output["sandboxed"] is True
    assert host.is_whole()


def test_nothing_outlives_its_call(host):
    script = (
        f"(setsid {SLEEP} &) ; (setsid sh -c 'trap \"\" HUP TERM; {SLEEP}' &);"
        f"nohup {SLEEP} >/dev/null 2>&1 & echo started"
    )

    outcome = host.run("/bin/sh", "-c", script)

    assert isinstance(outcome, Succeeded)
    assert eventually(lambda: not sleeping())


@pytest.mark.parametrize("name", escapes.BOMBS)
def test_a_bomb_is_ended_by_its_limit(host, name):
    code, script = escapes.BOMBS[name]
    deadline_s = 6 if code == "command.timed_out" else 120
    # Starting processes takes time too: on a busy host more than a second.
    cpu_s = 60 if code == "limits.processes" else escapes.SMALL.cpu_s
    limits = replace(escapes.SMALL, cpu_s=cpu_s)

    outcome = host.run("/bin/sh", "-c", script, limits=limits, deadline_s=deadline_s)

    assert isinstance(outcome, Failed)
    assert outcome.code == code


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_worker_that_is_root_runs_programs_as_a_user_without_rights():
    with ordinary.folder_of(0) as home:
        (home / "call").mkdir(mode=0o700)
        workdir = home / "call" / "work"
        (workdir / "out").mkdir(parents=True)
        (workdir / "in").mkdir()
        (workdir / "in" / "given").write_text("given")
        for name in ("tmp", "shm"):
            (home / "call" / name).mkdir()
        script = "id -u; cat in/given; echo made > out/made; echo x > /tmp/x"
        program = sandbox.Program(
            argv=["/bin/sh", "-c", script], workdir=workdir, scratch=home / "call"
        )

        ended = sandbox.run(program, deadline_s=30)

        assert (ended.exit_code, ended.stderr.tail) == (0, b"")
        assert ended.stdout.tail.split() == [str(sandbox.USER).encode(), b"given"]
        assert (workdir / "out" / "made").stat().st_uid == sandbox.USER


def test_the_suite_has_sixty_attempts():
    tables = (*SHELL, escapes.CODE, escapes.CALLS, escapes.LINKS, escapes.BOMBS)

    assert sum(map(len, tables)) >= 60
