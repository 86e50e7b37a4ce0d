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
    "from orchestration.skills.execution import program;"
    " program.main(int(sys.argv[2]))"
)
logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[3]
END_S = 5.0


def no_secrets(name: str) -> str:
    """Refuse every secret: for calls that may use none."""
    message = f"no secret {name} is available here"
    raise LookupError(message)


class Runner:
    """A runner of this worker and the one call it has under way."""

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
        """Whether the program is there to take a call."""
        return self._program is not None and self._program.poll() is None

    @property
    def busy(self) -> bool:
        """Whether a call was begun, and its answer was not taken."""
        return self._tap is not None or bool(self._ready)

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
        sha256. Only after `RunnerDied` the call may have been begun: after any other
        error it was not.

        :raises RunnerBusy: when the last call has not been answered
        :raises NotSent: when the program ended before it had the call
        :raises RunnerDied: when it may have had it
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
            "allow": {
                "network": call.allow.network,
                "programs": list(call.allow.programs),
            },
            "paths": {digest: str(known[digest]) for digest in wanted & known.keys()},
            "note": vars(call.note) if call.note else None,
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
                message = f"The call did not end within {call.deadline_s:g} s."
                raise DeadlinePassed(message)

    def kill(self) -> None:
        """End the program and everything below it, at once. Safe at any time."""
        program, self._program = self._program, None
        self._tap = None
        self._death = ""
        self._ready.clear()
        if program is None:
            return
        try:
            descendants.end_program(program, END_S)
        finally:
            # Without it the guardian ends everything, should it still be there.
            os.close(self._lifeline)
            for pipe in (program.stdin, program.stdout, program.stderr):
                if pipe is not None:
                    pipe.close()

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in PASSED_ON & os.environ.keys()}
        home = str(self._home)
        return {"LANG": "C.UTF-8", **kept, "HOME": home, "TMPDIR": home}

    def _send(self, value: dict[str, Any], masker: Masker) -> None:
        if self._tap is not None:
            raise RunnerBusy
        frame = wire.encode(value)
        self.start()
        self.masker = masker
        # What an earlier call said must never be taken for this one's answer.
        self._ready.clear()
        self._death = ""
        self._tap = LogTap(masker)
        try:
            wire.send(self._stdin, frame)
        except OSError as error:
            # A part of a frame begins nothing.
            self.kill()
            message = "The runner ended before it had the whole call."
            raise NotSent(message) from error
        except Exception as error:
            self.kill()
            message = f"The call was not sent as it should be: {type(error).__name__}."
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
            self._finish(frame)

    def _finish(self, frame: dict[str, Any]) -> None:
        self._finish_log()
        if "warm" not in frame:
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


def discard(workdir: Path) -> None:
    """Remove a call's folder, if it was ever made; what cannot be removed stays.

    A result must not be lost because its folder cannot be removed.
    """
    try:
        folders.remove(workdir)
    except OSError as error:
        logger.warning("Cannot remove the folder of a call: %s", error.strerror)


def _limit_passed(limit: Limit, call: WireCall) -> LimitPassed:
    return LimitPassed(limit, sentence(limit, call.limits, call.deadline_s))


def _unreadable(frame: dict[str, Any], error: Exception) -> Answer:
    """Return an answer in place of one that cannot be read, but for how it ended."""
    message = f"The answer of the skill cannot be read: {type(error).__name__}."
    outcome = frame.get("outcome")
    if isinstance(outcome, dict) and outcome.get("kind") == "succeeded":
        message = f"The step did its work, but its output is lost. {message}"
        return Failed("skill.output_invalid", message)
    return Unknown("skill.answer_invalid", message)


def _answer(frame: dict[str, Any]) -> Answer:
    if "not_started" in frame:
        return NotStarted()
    if "dry_run" in frame:
        return wire.dry_run_from_wire(frame["dry_run"])
    if "check" in frame:
        return Checked(wire.problems_from_wire(frame["check"]))
    if "touched" in frame:
        return TouchedSomething(frame["touched"])
    return wire.outcome_from_wire(frame["outcome"])
