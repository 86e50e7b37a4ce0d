"""Start a runner program from a worker, send it calls, and read its answers.

Answers are masked and limited here, before they are stored or shown.
"""

import contextlib
import logging
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from execfabric.lib import clock
from execfabric.lib.masking import Masker
from orchestration.skills.domain.limits import BY_EXIT_CODE, Limit, sentence
from orchestration.skills.domain.outcome import Failed, Unknown
from orchestration.skills.execution import descendants, folders, wire
from orchestration.skills.execution.calls import (
    Answer,
    Checked,
    DeadlinePassed,
    LimitPassed,
    Log,
    NotSent,
    NotStarted,
    RunnerBusy,
    RunnerDied,
    TouchedSomething,
    WireCall,
    local_files,
)
from orchestration.skills.execution.masking import (
    LogTap,
    Secrets,
    answer_masked,
    resolved,
)
from orchestration.skills.installed import EXTRA

LOCALE = {"LANG", "LC_ALL", "LC_CTYPE", "TZ"}
PASSED_ON = frozenset({*LOCALE, "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", EXTRA})
BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from orchestration.skills.execution import program;"
    " program.main(int(sys.argv[2]))"
)
logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[3]
END_S = 5.0


def no_secrets(name: str) -> str:
    """Refuse every secret; for calls that may not use secrets."""
    message = f"the secret {name!r} is not available here"
    raise LookupError(message)


class Runner:
    """A runner program of this worker and its current call."""

    def __init__(self, *, home: Path, notes: int | None = None) -> None:
        self._home = home
        self._inherited = () if notes is None else (notes,)
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
        return self._program is not None and self._program.poll() is None

    @property
    def busy(self) -> bool:
        """True if a call was started and its answer was not read."""
        return self._tap is not None or bool(self._ready)

    def start(self) -> None:
        """Start the program unless it is running; clean up after an earlier one."""
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
            pass_fds=(lifeline, *self._inherited),
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

    def begin(
        self,
        call: WireCall,
        *,
        secrets: Secrets = no_secrets,
        paths: Mapping[str, Path] | None = None,
    ) -> None:
        """Send a call, starting the program if needed; `poll` returns its answer.

        `paths` has the path of each file in the params by sha256. Only after
        `RunnerDied` the call may have started; after any other error it has not.

        :raises RunnerBusy: when the last call has no answer yet
        :raises NotSent: when the program ended before it had the call
        :raises RunnerDied: when it may have the call
        """
        until = min(call.until, clock.since_boot() + call.deadline_s)
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
            "deadline_s": max(0.0, until - clock.since_boot()),
            "until": until,
            "valid_until": min(call.valid_until, until),
            "limits": vars(call.limits),
            "allow": vars(call.allow),
            "paths": {digest: str(known[digest]) for digest in wanted & known.keys()},
            "note": vars(call.note) if call.note else None,
            "started_at": call.started_at and call.started_at.isoformat(),
        }
        self._call = call
        self._send({"call": frame}, Masker(used))

    def poll(self, timeout_s: float) -> Log | Answer | None:
        """Return the next log text or the answer; None after the timeout.

        :raises RunnerDied: when the program has ended and its output is read
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
        """Run the call to its end; kill it at its deadline.

        :raises DeadlinePassed: when it was killed
        :raises RunnerDied: when the program ended by itself
        """
        until = time.monotonic() + call.deadline_s
        self.begin(call, secrets=secrets, paths=paths)
        while True:
            item = self.poll(until - time.monotonic())
            if isinstance(item, Log):
                on_log(item.text)
            elif item is not None:
                return item
            if item is None or time.monotonic() > until:
                self.kill()
                message = f"The call did not finish in {call.deadline_s:g} s."
                raise DeadlinePassed(message)

    def kill(self) -> None:
        """Kill the program and its descendants. Safe at any time."""
        program, self._program = self._program, None
        self._tap = None
        self._death = ""
        self._ready.clear()
        if program is None:
            return
        try:
            descendants.end_program(program, END_S)
        finally:
            # Without it the guardian, if it is still there, ends everything.
            os.close(self._lifeline)
            for pipe in (program.stdin, program.stdout, program.stderr):
                if pipe is not None:
                    pipe.close()

    def _environment(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON & os.environ.keys()}
        home = str(self._home)
        return {"LANG": "C.UTF-8", **passed, "HOME": home, "TMPDIR": home}

    def _send(self, value: dict[str, Any], masker: Masker) -> None:
        if self._tap is not None:
            raise RunnerBusy
        frame = wire.encode(value)
        self.start()
        self.masker = masker
        # The answer of an earlier call must never be used for this one.
        self._ready.clear()
        self._death = ""
        self._tap = LogTap(masker)
        try:
            wire.send(self._stdin, frame)
        except OSError as error:
            # A part of a frame starts nothing.
            self.kill()
            message = (
                "The runner ended before it received the whole call. Nothing was done."
            )
            raise NotSent(message) from error
        except Exception as error:
            self.kill()
            message = f"Cannot send the call to the runner: {type(error).__name__}. It may have started."
            raise RunnerDied(message) from error

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
            self._finish_log()
            self._ready.append(self._answer(frame))

    def _answer(self, frame: dict[str, Any]) -> Answer:
        try:
            if "passed" in frame and self._call is not None:
                return _limit_passed(Limit(frame["passed"]), self._call)
            return _answer(answer_masked(frame, self.masker))
        except Exception as error:
            logger.exception("Cannot read the answer of a handler.")
            return _unreadable(frame, error)

    def _finish_log(self) -> None:
        # The log of a handler is in the pipe before its answer.
        while self._log_fd in dict(self._poller.poll(0)):
            self._read_log()
        if self._tap is not None:
            rest = self._tap.finish()
            if rest:
                self._ready.append(Log(rest))
        self._tap = None

    def _died(self) -> None:
        """Store the program's last output; `poll` raises after reading it."""
        self._finish_log()
        program = self._program
        last_output = [*self._ready]
        code = None
        if program is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = program.wait(END_S)
        self.kill()
        self._ready.extend(last_output)
        if code in BY_EXIT_CODE and self._call is not None:
            self._ready.append(_limit_passed(BY_EXIT_CODE[code], self._call))
            return
        self._death = f"The runner ended with code {code} before it answered. The step may have had an effect."


def discard(workdir: Path) -> None:
    """Remove the folder of a call if it exists.

    A result must not be lost because its folder cannot be removed, so this logs errors.
    """
    try:
        folders.remove(workdir)
    except OSError as error:
        logger.warning("Cannot remove the folder of a call: %s", error.strerror)


def _limit_passed(limit: Limit, call: WireCall) -> LimitPassed:
    return LimitPassed(limit, sentence(limit, call.limits, call.deadline_s))


def _unreadable(frame: dict[str, Any], error: Exception) -> Answer:
    """Return the answer for a frame that cannot be read."""
    message = f"The answer of the skill cannot be read ({type(error).__name__})."
    outcome = frame.get("outcome")
    if isinstance(outcome, dict) and outcome.get("kind") == "succeeded":
        message = f"The step ran, but its output is lost. {message}"
        return Failed("skill.output_invalid", message)
    return Unknown("skill.answer_invalid", message)


def _answer(frame: dict[str, Any]) -> Answer:
    if "not_started" in frame:
        return NotStarted()
    if "dry_run" in frame:
        return wire.dry_run_from_wire(frame["dry_run"])
    if "check" in frame:
        return Checked(wire.problems_from_wire(frame["check"]))
    if "probe" in frame:
        return wire.probed_from_wire(frame["probe"])
    if "touched" in frame:
        return TouchedSomething(frame["touched"])
    return wire.outcome_from_wire(frame["outcome"])
