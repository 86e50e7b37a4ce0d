"""Run a program in a sandbox without network and without files except its own.

Bubblewrap creates new namespaces for it. A self-test checks that they work: on some
hosts unprivileged namespaces are disabled, and a sandbox that fails silently is worse
than none.
"""

import fcntl
import os
import re
import resource
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

from orchestration.skills.domain.limits import MEGABYTE, Limit, Limits
from orchestration.skills.execution import seccomp
from orchestration.skills.execution.metering import Meter
from orchestration.skills.execution.reasons import plain
from orchestration.skills.execution.streams import OutputTail, Streams

INSIDE = "/call"
PROBE_S = 20.0
SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
MASKED = tuple(
    f"/proc/{name}"
    for name in (
        *("kallsyms", "kcore", "key-users", "keys", "kmsg", "kpagecgroup"),
        *("kpagecount", "kpageflags", "latency_stats", "sched_debug", "timer_list"),
    )
)
"""Files of /proc that root could read; containers hide them too."""
SYSTEM_PATH = "/usr/bin:/bin"
TOOL_ENVIRONMENT: Mapping[str, str] = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}
USER = 64_939
"""User id for the programs of a worker that is root, without account and files."""
AS_USER: Mapping[str, Any] = {"user": USER, "group": USER, "extra_groups": []}
OPEN_FILES = 256
HEADROOM = 200
PROGRAM_NICE, METER_NICE = 10, -20
STATUS_SIZE = 65536
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
READABLE = ("/etc/alternatives", "/etc/ld.so.cache")


@dataclass(frozen=True)
class Program:
    argv: Sequence[str]
    workdir: Path
    """Its working folder, which is `/call` in the sandbox."""
    scratch: Path | None = None
    """Contains `tmp` and `shm` for `/tmp` and `/dev/shm` in the sandbox; None for no
    such folders."""
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    limits: Limits = field(default_factory=Limits)
    sandboxed: bool = True


@dataclass(frozen=True)
class Ended:
    """The end of a program; it has no exit code if it was killed."""

    exit_code: int | None
    stdout: OutputTail
    stderr: OutputTail
    passed: Limit | None
    """The limit for which it was stopped."""


@dataclass(frozen=True)
class SelfTest:
    failures: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        return not self.failures


class SandboxUnavailable(Exception):
    """The sandbox did not start, so the program did not run."""


class BadEnvironment(ValueError):
    """An environment variable is invalid."""


PROBE = """
test -e /etc/passwd && echo "the file /etc/passwd is visible"
test -e "$1" && echo "a file of the host is visible"
(echo x > /usr/probe) 2>/dev/null && echo "system folders can be written to"
(echo x > /probe) 2>/dev/null && echo "the root folder can be written to"
test -w /proc/sys/kernel/hostname && echo "the kernel's settings can be written to"
test -w /proc/sysrq-trigger && echo "the kernel can be triggered"
test -n "$PROBE_SECRET" && echo "the environment is passed on"
awk -F: 'NR > 2 && $1 !~ /^ *lo$/ { exit 1 }' /proc/net/dev || echo "the network is visible"
test -x /bin/bash && /bin/bash -c 'echo > /dev/tcp/127.0.0.1/'"$2" 2>/dev/null && echo "a server of the host answers"
test "$(cat /proc/1/comm)" = bwrap || echo "processes of the host are visible"
(echo x > made) 2>/dev/null || echo "its own folder cannot be written to"
setsid sleep 300 >/dev/null 2>&1 </dev/null &
echo done
"""


@lru_cache(maxsize=1)
def self_test() -> SelfTest:
    """Try to break out of the sandbox; cache the result per process."""
    if not shutil.which("bwrap"):
        return SelfTest(("bubblewrap (bwrap) is not installed",))
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.NamedTemporaryFile() as outside,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        argv = ["/bin/sh", "-c", PROBE, "probe", outside.name]
        program = Program(
            argv=[*argv, str(server.getsockname()[1])], workdir=Path(folder)
        )
        try:
            ended = run(program, deadline_s=PROBE_S)
        except (OSError, SandboxUnavailable) as error:
            return SelfTest((f"it does not start: {plain(error)}",))
    lines = ended.stdout.tail.decode(errors="replace").split("\n")
    failures = tuple(line for line in lines if line and line != "done")
    if "done" not in lines:
        failures += ("its self-test did not finish",)
    return SelfTest(failures)


def run(
    program: Program,
    *,
    deadline_s: float,
    on_text: Callable[[bytes], None] = lambda _: None,
) -> Ended:
    """Run a program to its end, or kill it at the deadline.

    :raises OSError: when it cannot be started
    :raises BadEnvironment: when a variable is invalid
    :raises SandboxUnavailable: when the sandbox did not start
    """
    variables = _variables(program)
    with ExitStack() as stack:
        stdin = stack.enter_context(_holding(program.stdin))
        wrapper = _Wrapper(program, variables, stack) if program.sandboxed else None
        # The tool that creates the sandbox gets nothing from the plan: with the plan's
        # variables or folder, its loader would run the plan's code on the host.
        started = subprocess.Popen(
            [*wrapper.argv, *program.argv] if wrapper else program.argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/" if wrapper else program.workdir,
            env=TOOL_ENVIRONMENT if wrapper else variables,
            pass_fds=wrapper.fds if wrapper else (),
            start_new_session=True,
            preexec_fn=partial(_limit, program.limits),  # noqa: PLW1509 - one thread
            **_as_ordinary_user(program),
        )
        # The first process of the namespace is bubblewrap too.
        spare = 1 if wrapper else 0
        folder = program.scratch or program.workdir
        meter = Meter(started.pid, program.limits, folder, spare=spare)
        with started, _ahead():
            streams = Streams(started, on_text, meter)
            in_time = streams.read(time.monotonic() + deadline_s)
            if not in_time:
                # The first process of its namespace is a child of bwrap and dies with it.
                started.kill()
            code = started.wait()
        if wrapper and in_time and not wrapper.started():
            reason = streams.stderr.tail.decode(errors="replace").strip()
            raise SandboxUnavailable(reason or f"bwrap ended with code {code}")
    passed = streams.passed or meter.passed_on_disk()
    if not in_time:
        return Ended(None, streams.stdout, streams.stderr, passed or Limit.TIME)
    return Ended(code, streams.stdout, streams.stderr, passed)


def _as_ordinary_user(program: Program) -> dict[str, Any]:
    """If we are root, give the folders to an ordinary user; return run options.

    The kernel does not limit the processes of root, so nothing would stop a fork bomb,
    and a program that escaped would be root. If the user cannot reach the folders, the
    program runs as root.
    """
    if not program.sandboxed or os.geteuid() != 0 or not _has_ordinary_user():
        return {}
    folders = [program.workdir]
    if program.scratch is not None:
        folders += [program.scratch / "tmp", program.scratch / "shm"]
        for parent in (program.scratch, program.scratch.parent):
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    parents = program.workdir.parents
    if not all(parent.stat().st_mode & stat.S_IXOTH for parent in parents):
        return {}
    for folder in folders:
        for _path, _dirs, names, fd in os.fwalk(folder, follow_symlinks=False):
            os.fchown(fd, USER, USER)
            for name in names:
                os.chown(name, USER, USER, dir_fd=fd, follow_symlinks=False)
    program.workdir.chmod(0o700)
    return dict(AS_USER)


@lru_cache(maxsize=1)
def _has_ordinary_user() -> bool:
    """Return True if bubblewrap works for that user on this host."""
    tool = shutil.which("bwrap") or "bwrap"
    argv = [tool, "--unshare-all", "--ro-bind", "/", "/", "true"]
    tried = subprocess.run(
        argv,
        capture_output=True,
        check=False,
        cwd="/",
        env=TOOL_ENVIRONMENT,
        **AS_USER,
    )
    return tried.returncode == 0


@contextmanager
def _ahead() -> Iterator[None]:
    """Raise our priority if allowed, to notice a fork bomb."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, METER_NICE)
    try:
        yield
    finally:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


def _variables(program: Program) -> dict[str, str]:
    """Return the variables of the program.

    :raises BadEnvironment: when a name or a value is invalid
    """
    for name, value in program.environment.items():
        if not VARIABLE.fullmatch(name):
            message = f"{name!r} is not a valid variable name"
            raise BadEnvironment(message)
        if "\0" in value:
            message = f"the value of {name} contains a NUL character"
            raise BadEnvironment(message)
    home = INSIDE if program.sandboxed else str(program.workdir)
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home}
    return {**base, "TMPDIR": home, **program.environment}


class _Wrapper:
    """The bubblewrap command for a program, and the descriptors that it needs."""

    def __init__(
        self, program: Program, variables: Mapping[str, str], stack: ExitStack
    ) -> None:
        options = _options(program)
        # A command line has no room for large variables, and all users of the host can
        # read it.
        for name, value in variables.items():
            options += ["--setenv", name, value]
        filters = seccomp.program()
        self._status = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the stack
        self.fds = [self._status.fileno()]
        if filters:
            self.fds.append(stack.enter_context(_holding(filters)).fileno())
            options += ["--seccomp", str(self.fds[-1])]
        encoded = b"".join(os.fsencode(option) + b"\0" for option in options)
        self.fds.append(stack.enter_context(_holding(encoded)).fileno())
        tool = shutil.which("bwrap") or "bwrap"
        status, arguments = str(self.fds[0]), str(self.fds[-1])
        self.argv = [tool, "--json-status-fd", status, "--args", arguments, "--"]
        self.argv += _process_limit(program.limits)

    def started(self) -> bool:
        """Return True if the sandbox and the program were started."""
        self._status.seek(0)
        return b'"exit-code"' in self._status.read(STATUS_SIZE)


def _options(program: Program) -> list[str]:
    """Build the options: new namespaces, a read-only system, and its own folders."""
    options = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    options += _no_nesting()
    options += ["--cap-drop", "ALL", "--hostname", "sandbox"]
    options += ["--ro-bind", "/usr", "/usr"]
    for path in SYSTEM:
        if Path(path).is_symlink():
            options += ["--symlink", str(Path(path).readlink()), path]
        else:
            options += ["--ro-bind-try", path, path]
    for path in READABLE:
        options += ["--ro-bind-try", path, path]
    # If the worker is root, the kernel still sees the program as root: it could write to
    # /proc/sysrq-trigger and /proc/sys if they were not read-only.
    options += ["--proc", "/proc"]
    for path in MASKED:
        if Path(path).exists():
            options += ["--ro-bind", "/dev/null", path]
    options += ["--remount-ro", "/proc", "--dev", "/dev"]
    # All writable folders are measured. Files in memory only would not be.
    if program.scratch is not None:
        options += ["--bind", str(program.scratch / "tmp"), "/tmp"]  # noqa: S108
        options += ["--bind", str(program.scratch / "shm"), "/dev/shm"]  # noqa: S108
    options += ["--remount-ro", "/dev"]
    options += ["--bind", str(program.workdir), INSIDE, "--chdir", INSIDE]
    return [*options, "--remount-ro", "/"]


def _process_limit(limits: Limits) -> list[str]:
    """Limit the processes in the sandbox: outside, the host's would count too.

    This delays a fork bomb until the meter notices it.
    """
    tool = shutil.which("prlimit", path=SYSTEM_PATH)
    most = limits.processes + HEADROOM
    return [tool, f"--nproc={most}", "--"] if tool else []


@lru_cache(maxsize=1)
def _no_nesting() -> list[str]:
    """Forbid further user namespaces, which expose the kernel, if supported."""
    listed = subprocess.run(
        ["bwrap", "--help"], capture_output=True, check=False, cwd="/"
    )
    known = b"--disable-userns" in listed.stdout + listed.stderr
    return ["--unshare-user", "--disable-userns"] if known else []


def _holding(content: bytes) -> IO[bytes]:
    """Return an open file without a name that cannot be changed."""
    fd = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    file = os.fdopen(fd, "w+b")
    file.write(content)
    file.seek(0)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK
    seals |= fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


def _limit(limits: Limits) -> None:
    # More than the meter allows, so that the meter reports what happened.
    for kind, value in (
        (resource.RLIMIT_DATA, limits.memory_mb * MEGABYTE * 4),
        (resource.RLIMIT_CPU, limits.cpu_s + 2),
        (resource.RLIMIT_FSIZE, limits.file_mb * MEGABYTE + 1),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))
    os.setpriority(os.PRIO_PROCESS, 0, PROGRAM_NICE)
