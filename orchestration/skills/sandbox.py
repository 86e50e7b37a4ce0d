"""Running a program where it can reach nothing: no network, no files but its own.

Bubblewrap gives it namespaces of its own. Whether that works is not believed but
tried: on some hosts unprivileged namespaces are switched off, and a sandbox that
is dead unnoticed is worse than none.
"""

import resource
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

TAIL = 64 * 1024
CHUNK = 65536
INSIDE = "/call"
PROBE_S = 20.0
SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
READABLE = ("/etc/alternatives", "/etc/ld.so.cache")


@dataclass(frozen=True)
class Limits:
    """What a program may use. Sizes in bytes."""

    memory: int = 1024 * 1024 * 1024
    cpu_s: int = 60
    file_size: int = 256 * 1024 * 1024
    open_files: int = 256
    programs: int = 256
    """Programs and threads at once; not held against root outside the sandbox."""


@dataclass(frozen=True)
class Program:
    """What to run."""

    argv: Sequence[str]
    workdir: Path
    """The one folder it may write to; inside the sandbox its name is `/call`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    limits: Limits = field(default_factory=Limits)
    sandboxed: bool = True


@dataclass(frozen=True)
class Stream:
    """The end of what a program wrote, and how much it was in all."""

    tail: bytes
    total: int


@dataclass(frozen=True)
class Ended:
    """How a program ended; no exit code where it was killed at its deadline."""

    exit_code: int | None
    stdout: Stream
    stderr: Stream


@dataclass(frozen=True)
class SelfTest:
    """What the probes in the sandbox found."""

    works: bool
    failures: tuple[str, ...] = ()


class SandboxUnavailable(Exception):
    """No sandbox works on this host."""


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
    """Try to break out, once for each process that asks."""
    if not shutil.which("bwrap"):
        return SelfTest(works=False, failures=("bubblewrap (bwrap) is not installed",))
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
        except OSError as error:
            return SelfTest(works=False, failures=(str(error),))
    said = ended.stdout.tail.decode(errors="replace").split("\n")
    if "done" not in said:
        reason = ended.stderr.tail.decode(errors="replace").strip()
        return SelfTest(works=False, failures=(f"it does not start: {reason}",))
    failures = tuple(line for line in said if line and line != "done")
    return SelfTest(works=not failures, failures=failures)


def run(
    program: Program,
    *,
    deadline_s: float,
    on_text: Callable[[bytes], None] = lambda _: None,
) -> Ended:
    """Run a program to its end or to the deadline, when it is killed.

    :raises OSError: when it cannot be started
    """
    argv = [*_wrapped(program), *program.argv] if program.sandboxed else program.argv
    with tempfile.TemporaryFile() as stdin:
        stdin.write(program.stdin)
        stdin.seek(0)
        started = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=program.workdir,
            env=_environment(program),
            start_new_session=True,
            preexec_fn=partial(_limit, program.limits),  # noqa: PLW1509 - one thread
        )
    with started:
        streams = _Streams(started, on_text)
        in_time = streams.read(time.monotonic() + deadline_s)
        if not in_time:
            _kill(started)
        code = started.wait()
    return Ended(code if in_time else None, streams.stdout, streams.stderr)


def _environment(program: Program) -> dict[str, str]:
    home = INSIDE if program.sandboxed else str(program.workdir)
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home}
    return {**base, "TMPDIR": home, **program.environment}


def _wrapped(program: Program) -> list[str]:
    """The bubblewrap command: everything new, the system read-only, one folder."""
    argv = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
    ]
    argv += _no_nesting()
    argv += ["--cap-drop", "ALL", "--hostname", "sandbox"]
    argv += ["--ro-bind", "/usr", "/usr"]
    for path in SYSTEM:
        if Path(path).is_symlink():
            argv += ["--symlink", str(Path(path).readlink()), path]
        else:
            argv += ["--ro-bind-try", path, path]
    for path in READABLE:
        argv += ["--ro-bind-try", path, path]
    # Under root the kernel knows the program as root still: /proc/sysrq-trigger and
    # /proc/sys would take what it writes, were they not read-only.
    argv += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
    argv += ["--tmpfs", "/tmp"]  # noqa: S108 - its own, inside
    argv += ["--bind", str(program.workdir), INSIDE, "--chdir", INSIDE]
    argv += ["--remount-ro", "/", "--"]
    if shutil.which("prlimit"):
        count = program.limits.programs
        argv += ["prlimit", f"--nproc={count}:{count}", "--"]
    return argv


@lru_cache(maxsize=1)
def _no_nesting() -> list[str]:
    """Forbid further user namespaces, where this bubblewrap can: they open the kernel."""
    said = subprocess.run(["bwrap", "--help"], capture_output=True, check=False)
    known = b"--disable-userns" in said.stdout + said.stderr
    return ["--unshare-user", "--disable-userns"] if known else []


def _limit(limits: Limits) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


def _kill(started: subprocess.Popen[bytes]) -> None:
    # The first process of the PID namespace is among bwrap's children and dies
    # with it, and everything in the namespace with that one.
    started.send_signal(signal.SIGKILL)


class _Streams:
    """Reads both outputs of a program side by side and keeps their ends."""

    def __init__(
        self, started: subprocess.Popen[bytes], on_text: Callable[[bytes], None]
    ) -> None:
        self._on_text = on_text
        self._kept = {name: (bytearray(), [0]) for name in ("stdout", "stderr")}
        self._selector = selectors.DefaultSelector()
        for name in self._kept:
            pipe: IO[bytes] = getattr(started, name)
            self._selector.register(pipe, selectors.EVENT_READ, name)
        self._started = started

    @property
    def stdout(self) -> Stream:
        """The standard output."""
        return self._stream("stdout")

    @property
    def stderr(self) -> Stream:
        """The standard error output."""
        return self._stream("stderr")

    def read(self, until: float) -> bool:
        """Read until both are closed or the program has ended; False at the deadline."""
        while self._selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                return False
            ready = self._selector.select(min(left, 0.5))
            for key, _ in ready:
                self._take(key)
            # A program it left behind may hold the pipes open for ever.
            if not ready and self._started.poll() is not None:
                break
        return True

    def _take(self, key: selectors.SelectorKey) -> None:
        pipe = key.fileobj
        chunk = pipe.read1(CHUNK)  # type: ignore[union-attr]
        if not chunk:
            self._selector.unregister(pipe)
            return
        self._on_text(chunk)
        kept, total = self._kept[key.data]
        total[0] += len(chunk)
        kept += chunk
        del kept[:-TAIL]

    def _stream(self, name: str) -> Stream:
        kept, total = self._kept[name]
        return Stream(tail=bytes(kept), total=total[0])
