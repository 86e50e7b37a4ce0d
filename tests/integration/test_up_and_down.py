"""`python -m execfabric.local` as a person calls it: up, down, status."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import psutil
import pytest

from execfabric.local import endpoints, leftovers, ports, processes
from execfabric.local.layout import PROJECT, DataDir
from execfabric.local.leftovers import Stage
from tests.servers import eventually

LINK = "/accounts/password/"


class Installation:
    """`python -m execfabric.local` on one data directory, as a person calls it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        outer = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT")
        kept = {name: text for name, text in os.environ.items() if name not in outer}
        self.env = kept | {"EXECFABRIC_DATA_DIR": str(root)}

    def start(self, *arguments: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "execfabric.local", *arguments],
            env=self.env | env,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*arguments, **env) as started:
            said, _ = started.communicate(timeout=600)
        return subprocess.CompletedProcess(arguments, started.returncode, said)

    def stage(self) -> Stage | None:
        return leftovers.stage(DataDir(self.root))

    def part(self, name: str) -> psutil.Process | None:
        """The process of a part, once it is started."""
        found = leftovers.read(DataDir(self.root)).get(name)
        return psutil.Process(found.pid) if found else None

    def web(self) -> tuple[psutil.Process, int]:
        """The web server as soon as there is one, and the port it is about to take."""
        assert eventually(lambda: self.part("web"), within=120)
        process = self.part("web")
        assert process is not None
        # Before it is uvicorn it is setpriv, with the same arguments at the end.
        arguments = process.cmdline()
        return process, int(arguments[arguments.index("--port") + 1])

    def family(self) -> list[psutil.Process]:
        return [
            member
            for part in leftovers.read(DataDir(self.root)).values()
            for member in processes.family(part.identity)
        ]


@pytest.fixture
def installation(tmp_path: Path):
    # Longer than the path of a socket may be, and with spaces.
    made = Installation(tmp_path / ("a long path " * 12) / "data")
    yield made
    made.call("down")


def test_a_port_that_was_asked_for_and_is_taken_ends_the_start(
    installation: Installation,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = installation.call("up", "--no-demo", PORT=str(port))

    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stdout
    assert endpoints.load(installation.root) is None


def test_a_port_that_was_asked_for_and_is_lost_while_starting_ends_the_start(
    installation: Installation,
) -> None:
    wanted = ports.any_free()
    with installation.start("up", "--no-demo", PORT=str(wanted)) as up:
        _, port = installation.web()
        with socket.create_server((ports.HOST, port)):
            said, _ = up.communicate(timeout=120)

    assert port == wanted
    assert up.returncode == 1
    assert said.splitlines()[-1] == (
        f"Port {wanted} is taken: free it, or choose another with PORT."
    )
    assert "Traceback" not in said


def test_a_port_that_is_lost_for_a_moment_while_starting_costs_nothing_but_time(
    installation: Installation,
) -> None:
    with installation.start("up", "--no-demo") as up:
        first, port = installation.web()
        with socket.create_server((ports.HOST, port)):
            psutil.wait_procs([first], timeout=60)
        said, _ = up.communicate(timeout=120)

    assert up.returncode == 0, said
    assert "ExecFabric is up: http://127.0.0.1:" in said


def test_without_the_demo_each_start_prints_a_new_link_for_the_first_admin(
    installation: Installation,
) -> None:
    first, second = (installation.call("up", "--no-demo").stdout for _ in range(2))
    older, newer = (
        next(line.strip() for line in said.splitlines() if LINK in line)
        for said in (first, second)
    )

    assert LINK not in DataDir(installation.root).log.read_text()
    assert httpx2.get(older, trust_env=False).status_code == 404
    page = httpx2.get(newer, trust_env=False)
    assert page.status_code == 200
    assert "Create the first admin" in page.text


def test_a_second_up_waits_for_the_first_and_says_the_same(installation) -> None:
    with installation.start("up", "--demo") as first:
        assert eventually(lambda: installation.stage() is Stage.STARTING)
        second = installation.call("up", "--demo")
        said, _ = first.communicate(timeout=120)

    found = endpoints.load(installation.root)
    assert found is not None
    assert (first.returncode, second.returncode) == (0, 0)
    assert "is starting: waiting for it" in second.stdout
    assert f"ExecFabric is already up: {found.url}\n" in second.stdout
    logins = said[said.index("Demo logins:") :]
    assert len(logins.splitlines()) > 4
    assert logins in second.stdout


def test_a_second_up_fails_with_the_first(installation: Installation) -> None:
    with installation.start("up", "--no-demo") as first:
        assert eventually(lambda: installation.stage() is Stage.STARTING)
        with installation.start("up", "--no-demo") as second:
            assert second.stdout is not None
            assert "waiting for it" in second.stdout.readline()
            installation.call("down")
            said, _ = second.communicate(timeout=60)
        first.communicate(timeout=60)

    assert (first.returncode, second.returncode) == (1, 1)
    assert "was waited for, and it failed. Its log: " in said
    assert installation.stage() is None


def test_an_up_during_a_down_waits_and_starts_anew(installation: Installation) -> None:
    assert installation.call("up", "--no-demo").returncode == 0
    earlier = leftovers.supervisor(DataDir(installation.root))

    with installation.start("down") as down:
        assert eventually(lambda: installation.stage() is Stage.STOPPING)
        up = installation.call("up", "--no-demo")
        assert down.wait(timeout=60) == 0

    assert up.returncode == 0, up.stdout
    assert "is stopping: waiting for it" in up.stdout
    assert leftovers.supervisor(DataDir(installation.root)) not in {None, earlier}
    assert installation.call("status").returncode == 0


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"PORT": "http"}, "PORT must be between 1 and 65535, not 'http'."),
        ({"PORT": "0"}, "PORT must be between 1 and 65535, not '0'."),
        ({"EXECFABRIC_DEMO": "no"}, "EXECFABRIC_DEMO must be true or false, not 'no'."),
        (
            {"EXECFABRIC_WORKER_CONCURRENCY": "many"},
            "EXECFABRIC_WORKER_CONCURRENCY must be a whole number from 1, not 'many'.",
        ),
        (
            {"DATABASE_URL_FILE": "/nowhere"},
            "The file of DATABASE_URL_FILE cannot be read: [Errno 2] No such file or directory: '/nowhere'",
        ),
        (
            {"EXECFABRIC_ENV": "production", "EXECFABRIC_DEMO": "true"},
            "The demo is not for production: start with DEMO=false.",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_sentence(
    installation: Installation, env: dict[str, str], said: str
) -> None:
    done = installation.call("up", **env)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, said)
    assert "Traceback" not in done.stdout
    assert "Preparing" not in done.stdout


@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_a_data_directory_that_cannot_be_is_said_so(
    tmp_path: Path, command: str
) -> None:
    done = Installation(tmp_path / ("x" * 300)).call(command)

    assert done.returncode == 1
    assert done.stdout.startswith("The data directory cannot be used: ")
    assert len(done.stdout.splitlines()) == 1


def test_a_folder_full_of_something_else_is_not_taken_for_data(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").touch()

    done = Installation(tmp_path).call("up")

    assert done.returncode == 1
    assert "and not empty (thesis.txt): name a folder of its own" in done.stdout
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_embedded_servers_are_refused_in_production(installation) -> None:
    done = installation.call("up", "--no-demo", EXECFABRIC_ENV="production")

    assert done.returncode == 1
    assert "DATABASE_URL and REDIS_URL must be set" in done.stdout


def test_down_and_status_where_nothing_runs_say_so(installation) -> None:
    down, status = installation.call("down"), installation.call("status")

    assert (down.returncode, down.stdout) == (0, "Nothing is running.\n")
    assert status.returncode == 3


def test_up_serves_says_so_the_second_time_and_down_leaves_nothing(
    installation,
) -> None:
    from_here = os.path.relpath(installation.root, PROJECT)
    first = installation.call("up", "--no-demo", EXECFABRIC_DATA_DIR=from_here)
    family = installation.family()
    second = installation.call("up", "--no-demo")
    elsewhere = installation.call("up", "--no-demo", PORT=str(ports.any_free()))
    status = installation.call("status")
    down = installation.call("down")

    assert elsewhere.returncode == 1
    assert "stop it first" in elsewhere.stdout
    assert first.returncode == 0, first.stdout
    assert second.returncode == 0
    assert "is already up" in second.stdout
    for name in ("postgres", "valkey", "web", "worker", "keeper"):
        assert f"  {name}" in status.stdout
    assert (down.returncode, down.stdout) == (0, "Stopping ...\nStopped.\n")
    assert len(family) > 6
    assert not any(member.is_running() for member in family)
    assert endpoints.load(installation.root) is None


def test_a_killed_supervisor_takes_its_parts_along_or_the_next_up_does(
    installation: Installation,
) -> None:
    up = installation.call("up", "--no-demo")
    assert up.returncode == 0, up.stdout
    family = installation.family()
    supervisor = leftovers.supervisor(DataDir(installation.root))
    assert supervisor is not None

    os.kill(supervisor.pid, signal.SIGKILL)
    down = installation.call("down")

    assert down.returncode == 0
    assert eventually(lambda: not any(member.is_running() for member in family))
    assert leftovers.read(DataDir(installation.root)) == {}
    assert endpoints.load(installation.root) is None
