"""`python -m execfabric.local` as a person calls it: up, down, status."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import psutil
import pytest

from execfabric.local import endpoints, ports, processes
from execfabric.local.layout import PROJECT, DataDir
from execfabric.local.supervisor import process_of, read_status
from tests.servers import eventually, prepare_data

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

    def process(self, name: str) -> psutil.Process | None:
        """Return the running supervisor, or a running service."""
        row = read_status(DataDir(self.root)).get(name)
        return process_of(row) if row else None

    def web(self) -> tuple[psutil.Process, int]:
        """Return the web server once it has started, and the port it will use."""
        assert eventually(lambda: self.process("web"), within=120)
        process = self.process("web")
        assert process is not None
        # Before it is uvicorn it is setpriv, with the same arguments at the end.
        arguments = process.cmdline()
        return process, int(arguments[arguments.index("--port") + 1])

    def family(self) -> list[psutil.Process]:
        return [
            member
            for row in read_status(DataDir(self.root)).values()
            for member in processes.family(row["pid"])
        ]


@pytest.fixture
def installation(tmp_path: Path):
    # Longer than the path of a socket may be, and with spaces.
    made = Installation(tmp_path / ("a long path " * 12) / "data")
    yield made
    if made.process("supervisor"):
        made.call("down")


@pytest.fixture
def prepared(installation: Installation) -> Installation:
    """Prepare the database of an installation, so that it starts sooner."""
    prepare_data(installation.root)
    return installation


def test_a_port_that_was_asked_for_and_is_taken_ends_the_start(
    installation: Installation,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = installation.call("up", "--no-demo", PORT=str(port))

    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stdout
    assert endpoints.load(installation.root) is None


def test_a_port_that_was_asked_for_and_is_lost_while_starting_ends_the_start(
    prepared: Installation,
) -> None:
    wanted = ports.any_free()
    with prepared.start("up", "--no-demo", PORT=str(wanted)) as up:
        _, port = prepared.web()
        with socket.create_server((ports.HOST, port)):
            said, _ = up.communicate(timeout=120)

    assert port == wanted
    assert up.returncode == 1
    assert said.splitlines()[-1] == (
        f"Port {wanted} is in use. Free it, or set PORT to a free one."
    )
    assert "Traceback" not in said


def test_a_port_that_is_lost_for_a_moment_while_starting_costs_nothing_but_time(
    prepared: Installation,
) -> None:
    with prepared.start("up", "--no-demo") as up:
        first, port = prepared.web()
        with socket.create_server((ports.HOST, port)):
            psutil.wait_procs([first], timeout=60)
        said, _ = up.communicate(timeout=120)

    assert up.returncode == 0, said
    assert "ExecFabric is up: http://127.0.0.1:" in said


def test_without_the_demo_each_start_prints_a_new_link_for_the_first_admin(
    prepared: Installation,
) -> None:
    first, second = (prepared.call("up", "--no-demo").stdout for _ in range(2))
    older, newer = (
        next(line.strip() for line in said.splitlines() if LINK in line)
        for said in (first, second)
    )

    assert LINK not in DataDir(prepared.root).log.read_text()
    assert httpx2.get(older, trust_env=False).status_code == 404
    page = httpx2.get(newer, trust_env=False)
    assert page.status_code == 200
    assert "Create the first admin" in page.text


def test_an_up_during_the_start_is_refused_and_down_ends_the_start(
    prepared: Installation,
) -> None:
    with prepared.start("up", "--no-demo") as first:
        assert eventually(lambda: prepared.process("supervisor"))
        second = prepared.call("up", "--no-demo")
        down = prepared.call("down")
        first.communicate(timeout=60)

    assert (first.returncode, second.returncode, down.returncode) == (1, 1, 0)
    assert "it is starting. Wait for it, or stop it with `make down`" in second.stdout
    assert prepared.process("supervisor") is None


def test_an_up_that_finds_the_demo_up_prints_the_same_address_and_logins(
    prepared: Installation,
) -> None:
    first, second = (prepared.call("up", "--demo") for _ in range(2))

    found = endpoints.load(prepared.root)
    assert found is not None
    assert (first.returncode, second.returncode) == (0, 0)
    assert f"ExecFabric is already up: {found.url}\n" in second.stdout
    logins = first.stdout[first.stdout.index("Demo logins:") :]
    assert len(logins.splitlines()) > 4
    assert logins in second.stdout


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"PORT": "http"}, "Invalid PORT 'http': it must be from 1 to 65535."),
        ({"PORT": "0"}, "Invalid PORT '0': it must be from 1 to 65535."),
        (
            {"EXECFABRIC_DEMO": "no"},
            "Invalid EXECFABRIC_DEMO 'no': it must be true or false.",
        ),
        (
            {"EXECFABRIC_WORKER_CONCURRENCY": "many"},
            "Invalid EXECFABRIC_WORKER_CONCURRENCY 'many': it must be a whole number, at least 1.",
        ),
        (
            {"DATABASE_URL_FILE": "/nowhere"},
            "Cannot read DATABASE_URL_FILE '/nowhere': no such file or directory. Set it to a readable file.",
        ),
        (
            {"EXECFABRIC_ENV": "production", "EXECFABRIC_DEMO": "true"},
            "Cannot start the demo in production. Start with DEMO=false.",
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
    assert done.stdout.startswith("Cannot use the data directory ")
    assert "Errno" not in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_a_folder_full_of_something_else_is_not_taken_for_data(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").touch()

    done = Installation(tmp_path).call("up")

    assert done.returncode == 1
    assert "it contains other files (thesis.txt). Set EXECFABRIC" in done.stdout
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_embedded_servers_are_refused_in_production(installation) -> None:
    done = installation.call("up", "--no-demo", EXECFABRIC_ENV="production")

    assert done.returncode == 1
    assert "Set DATABASE_URL and REDIS_URL." in done.stdout


def test_down_and_status_where_nothing_runs_say_so(installation) -> None:
    down, status = installation.call("down"), installation.call("status")

    assert (down.returncode, down.stdout) == (0, "Nothing is running.\n")
    assert status.returncode == 3


def test_up_serves_and_down_leaves_no_process_but_the_data(
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
    again = installation.call("up", "--no-demo")
    assert again.returncode == 0, again.stdout
    assert installation.call("status").returncode == 0


def test_a_killed_supervisor_leaves_no_process(
    prepared: Installation,
) -> None:
    up = prepared.call("up", "--no-demo")
    assert up.returncode == 0, up.stdout
    family = prepared.family()
    supervisor = prepared.process("supervisor")
    assert supervisor is not None
    assert len(family) > 6

    supervisor.kill()
    down = prepared.call("down")

    assert down.returncode == 0
    assert eventually(lambda: not any(member.is_running() for member in family))
    assert read_status(DataDir(prepared.root)) == {}
    assert endpoints.load(prepared.root) is None
