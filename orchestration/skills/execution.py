"""The worker's side of a handler's call: start a runner, hand it a call, hear from it.

What comes back is masked and bounded here, before anybody stores or shows it.
"""

import contextlib
import logging
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from execfabric.lib.masking import Masker
from orchestration.skills import descendants, folders, wire
from orchestration.skills.builtin import EXTRA
from orchestration.skills.domain.guard import Allow
from orchestration.skills.domain.limits import BY_EXIT_CODE, Limit, Limits, sentence
from orchestration.skills.domain.outcome import DryRun, Outcome, TargetProblem
from orchestration.skills.logtap import LogTap
from orchestration.skills.masked import Secrets, answer_masked, resolved

PASSED_ON = frozenset(
    {
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "PATH",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TZ",
        EXTRA,
    }
)
BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from orchestration.skills import runner; runner.main(int(sys.argv[2]))"
)
logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
END_S = 5.0


class RunnerDied(Exception):
    """The runner ended before it answered: whether the effect happened is unknown."""


class DeadlinePassed(Exception):
    """The call did not end in its time and was killed: its effect is unknown."""


class RunnerBusy(Exception):
    """The runner has a call under way."""


class CallKind(StrEnum):
    """What is wanted of a handler."""

    RUN = "run"
    DRY_RUN = "dry_run"
    CHECK = "check"


@dataclass(frozen=True)
class WireCall:
    """One call of a handler, as the worker knows it: references, not values."""

    handler: str
    params: Mapping[str, Any]
    workdir: Path
    """Where its folder may be made; `discard` removes it once the files are kept."""
    idempotency_key: str
    deadline_s: float
    config: Mapping[str, Any] = field(default_factory=dict)
    kind: CallKind = CallKind.RUN
    allow: Allow = field(default_factory=Allow)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Log:
    """Text the handler or a program of its wrote, masked."""

    text: str


@dataclass(frozen=True)
class Checked:
    """What a target check found; nothing is good."""

    problems: tuple[TargetProblem, ...]


@dataclass(frozen=True)
class TouchedSomething:
    """A dry run or a target check tried to change something and was stopped."""

    what: str


@dataclass(frozen=True)
class LimitPassed:
    """The call passed a limit and was stopped: its effect is unknown."""

    code: str
    message: str


Answer = Outcome | DryRun | Checked | TouchedSomething | LimitPassed


def no_secrets(name: str) -> str:
    """Refuse every secret: for calls that may use none."""
    message = f"no secret {name} is available here"
    raise LookupError(message)


class Runner:
    """A runner of this worker and the one call it has under way."""

    def __init__(self, *, home: Path) -> None:
        self._home = home
        self._program: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._stdin = self._frames_fd = self._log_fd = -1
        self._poller = select.poll()
        self._ready: deque[Log | Answer] = deque()
        self._tap: LogTap | None = None
        self.masker = Masker(())
        """Masks the secrets of the last call."""
        self._frames = wire.Frames()
        self._call: WireCall | None = None
        self._death = ""

    @property
    def alive(self) -> bool:
        """Whether the program is there to take a call."""
        return self._program is not None and self._program.poll() is None

    def start(self) -> None:
        """Start the program, unless it lives; what an earlier one left is removed."""
        if self.alive:
            return
        self.kill()
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lifeline, self._lifeline = os.pipe()
        command = [sys.executable, "-I", "-X", "utf8", "-c", BOOT]
        program = subprocess.Popen(
            [*command, str(ROOT), str(lifeline)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=self._home,
            env=self._environment(),
            pass_fds=(lifeline,),
            start_new_session=True,
        )
        os.close(lifeline)
        self._program = program
        self._stdin, self._frames_fd, self._log_fd = (
            pipe.fileno()
            for pipe in (program.stdin, program.stdout, program.stderr)
            if pipe
        )
        self._frames = wire.Frames()
        self._poller = select.poll()
        for fd in (self._frames_fd, self._log_fd):
            os.set_blocking(fd, False)
            self._poller.register(fd, select.POLLIN)

    def warm(self, prefixes: Iterable[str]) -> None:
        """Import the modules behind these skills now rather than in the first call.

        :raises RunnerDied: when one of them cannot be imported
        """
        self._send({"warm": list(prefixes)}, Masker(()))
        while self._tap is not None or self._death:
            self.poll(END_S)
        self._ready.clear()

    def begin(
        self,
        call: WireCall,
        *,
        secrets: Secrets = no_secrets,
        paths: Mapping[str, Path] | None = None,
    ) -> None:
        """Hand over a call; `poll` hears of it. Starts the program where needed.

        `paths` says where the bytes of each file named in the params lie, by
        sha256. Whatever `secrets` raises for an unknown name goes through.

        :raises RunnerBusy: when the last call has not been answered
        :raises RunnerDied: when the program could not take the call
        """
        used: set[str] = set()
        wanted = local_files(call.params)
        known = paths or {}
        frame = {
            "kind": str(call.kind),
            "handler": call.handler,
            "params": resolved(call.params, secrets, used),
            "config": resolved(call.config, secrets, used),
            "sensitive": sorted(used),
            "workdir": str(call.workdir),
            "idempotency_key": call.idempotency_key,
            "deadline_s": call.deadline_s,
            "limits": asdict(call.limits),
            "allow": {
                "network": call.allow.network,
                "programs": list(call.allow.programs),
            },
            "paths": {digest: str(known[digest]) for digest in wanted & known.keys()},
        }
        self._call = call
        self._send({"call": frame}, Masker(used))

    def poll(self, timeout_s: float) -> Log | Answer | None:
        """The next text or the answer; None when nothing came within the time.

        :raises RunnerDied: when the program has ended and its last words are read
        """
        until = time.monotonic() + timeout_s
        while not self._ready and not self._death:
            left = until - time.monotonic()
            ready = dict(self._poller.poll(max(0.0, left) * 1000))
            if self._log_fd in ready:
                self._read_log()
            if self._frames_fd in ready:
                self._read_frames()
            if left <= 0 or self._tap is None:
                break
        if not self._ready and self._death:
            message, self._death = self._death, ""
            raise RunnerDied(message)
        return self._ready.popleft() if self._ready else None

    def complete(
        self,
        call: WireCall,
        *,
        secrets: Secrets = no_secrets,
        paths: Mapping[str, Path] | None = None,
        on_log: Callable[[str], None] = lambda _: None,
    ) -> Answer:
        """Run the call to its end; past its deadline it is killed.

        :raises DeadlinePassed: when it was killed
        :raises RunnerDied: when the program ended by itself
        """
        self.begin(call, secrets=secrets, paths=paths)
        until = time.monotonic() + call.deadline_s
        while True:
            item = self.poll(until - time.monotonic())
            if isinstance(item, Log):
                on_log(item.text)
            elif item is not None:
                return item
            if item is None or time.monotonic() > until:
                self.kill()
                message = f"The call did not end within {call.deadline_s:g} s."
                raise DeadlinePassed(message)

    def kill(self) -> None:
        """End the program and everything below it, at once. Safe at any time."""
        program, self._program = self._program, None
        if program is None:
            return
        descendants.end_program(program, END_S)
        for pipe in (program.stdin, program.stdout, program.stderr):
            if pipe is not None:
                pipe.close()
        os.close(self._lifeline)
        self._tap = None
        self._death = ""
        self._ready.clear()

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in PASSED_ON & os.environ.keys()}
        home = str(self._home)
        return {"LANG": "C.UTF-8", **kept, "HOME": home, "TMPDIR": home}

    def _send(self, value: dict[str, Any], masker: Masker) -> None:
        if self._tap is not None:
            raise RunnerBusy
        self.start()
        self.masker = masker
        self._tap = LogTap(masker)
        try:
            wire.send(self._stdin, wire.encode(value))
        except BrokenPipeError:
            self._died()
            raise RunnerDied(self._death) from None

    def _read_log(self) -> None:
        chunk = wire.read_now(self._log_fd)
        if chunk == b"":
            self._poller.unregister(self._log_fd)
        text = self._tap.feed(chunk) if self._tap and chunk else ""
        if text:
            self._ready.append(Log(text))

    def _read_frames(self) -> None:
        chunk = wire.read_now(self._frames_fd)
        try:
            frame = self._frames.feed(chunk or b"")
        except (wire.FrameTooLarge, ValueError):
            chunk, frame = b"", None
        if chunk == b"":
            self._died()
        elif frame is not None:
            self._finish(frame)

    def _finish(self, frame: dict[str, Any]) -> None:
        self._finish_log()
        if "warm" not in frame:
            self._ready.append(self._answer(answer_masked(frame, self.masker)))

    def _answer(self, frame: dict[str, Any]) -> Answer:
        if "passed" in frame and self._call is not None:
            return _limit_passed(Limit(frame["passed"]), self._call)
        return _answer(frame)

    def _finish_log(self) -> None:
        # All a handler wrote is in the pipe before its answer is.
        while self._log_fd in dict(self._poller.poll(0)):
            self._read_log()
        if self._tap is not None:
            rest = self._tap.finish()
            if rest:
                self._ready.append(Log(rest))
        self._tap = None

    def _died(self) -> None:
        """Keep its last words; `poll` raises once they are read."""
        self._finish_log()
        program = self._program
        words = [*self._ready]
        code = None
        if program is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = program.wait(END_S)
        self.kill()
        self._ready.extend(words)
        if code in BY_EXIT_CODE and self._call is not None:
            self._ready.append(_limit_passed(BY_EXIT_CODE[code], self._call))
            return
        self._death = f"The runner ended with code {code} before it answered."


def local_files(value: Any) -> set[str]:
    """The sha256 of every file that a value names."""
    if isinstance(value, Mapping):
        if value.keys() == {"$file"}:
            return {value["$file"]["sha256"]}
        return set().union(*(local_files(item) for item in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(local_files(item) for item in value))
    return set()


def discard(workdir: Path) -> None:
    """Remove a call's folder, if it was ever made; what cannot be removed stays.

    A result must not be lost because its folder cannot be removed.
    """
    try:
        folders.remove(workdir)
    except OSError as error:
        logger.warning("Cannot remove the folder of a call: %s", error.strerror)


def _limit_passed(limit: Limit, call: WireCall) -> LimitPassed:
    return LimitPassed(str(limit), sentence(limit, call.limits, call.deadline_s))


def _answer(frame: dict[str, Any]) -> Answer:
    if "dry_run" in frame:
        return wire.dry_run_from_wire(frame["dry_run"])
    if "check" in frame:
        return Checked(wire.problems_from_wire(frame["check"]))
    if "touched" in frame:
        return TouchedSomething(frame["touched"])
    return wire.outcome_from_wire(frame["outcome"])
