"""The program that runs handlers: a child of a worker, with nothing of its secrets.

It reads calls from its standard input and answers on what was its standard
output. Descriptors 1 and 2 of the handlers are the log. A small guardian stands
between it and the worker, so that nothing is left when either of them dies.
"""

import contextlib
import errno
import json
import mmap
import os
import select
import signal
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from execfabric.lib import clock
from execfabric.lib.masking import Masker
from orchestration.skills import builtin, descendants, wire, withheld
from orchestration.skills.calls import note_begin
from orchestration.skills.domain.guard import Allow, touched
from orchestration.skills.domain.handlers import Registered
from orchestration.skills.domain.limits import BY_EXIT_CODE, Limit, Limits
from orchestration.skills.domain.outcome import (
    Call,
    Failed,
    File,
    Outcome,
    Retry,
    Succeeded,
    Unknown,
)
from orchestration.skills.metering import Meter, kernel_limits
from orchestration.skills.reasons import plain, trace

LOOK_MS = 250
LATE_S = 2.0
"""How long after the deadline the guardian acts: the worker comes first."""
NUMBER = struct.Struct("=Q")
SHARED_SIZE = 16384
ROOM = SHARED_SIZE - NUMBER.size
DIED_BY_SIGNAL = 128


class Touched(BaseException):
    """A dry run tried to touch something.

    Not an `Exception`: a handler's own `except Exception` must not hide it.
    """


class StopAsked(Exception):
    """The worker wants the runner to end, whatever it is doing."""


class FileTooLarge(Exception):
    """The handler wrote a file that is larger than the call's limit."""


class FileMissing(Exception):
    """A file named in the params was not handed over with the call."""


class LazyCall(Call):
    """A call whose folder is made when it is first asked for: most need none."""

    def __init__(self, *, folder: Path, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields, folder=folder)

    @cached_property
    def workdir(self) -> Path:
        """The folder, made on first use."""
        folder: Path = self.__dict__["folder"]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


class Watch:
    """The audit hook: silent unless armed, and it cannot be removed."""

    def __init__(self) -> None:
        self.what = ""
        self._armed: tuple[str, Allow] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self._armed is None:
            return
        workdir, allow = self._armed
        what = touched(event, args, workdir=workdir, allow=allow)
        if what:
            self.what = self.what or what
            raise Touched(what)

    @contextmanager
    def armed(self, workdir: Path, allow: Allow) -> Iterator[None]:
        """Stop what touches anything while the body runs."""
        self.what = ""
        wrote_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        self._armed = (os.path.realpath(workdir), allow)
        try:
            yield
        finally:
            self._armed = None
            sys.dont_write_bytecode = wrote_bytecode


def main(lifeline: int) -> NoReturn:
    """Fork the guardian away, then serve calls until the worker closes the pipe."""
    frames_in, frames_out = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    descendants.adopt_orphans()
    worker = os.getppid()
    calls = Calls()
    child = os.fork()
    if child:
        for fd in (frames_in, frames_out):
            os.close(fd)
        for fd in (1, 2):
            os.dup2(null, fd)
        _guard(child, calls, lifeline=lifeline, worker=worker)
    os.close(lifeline)
    descendants.die_with_parent()
    descendants.adopt_orphans()
    _serve(frames_in, frames_out, calls)


def _guard(child: int, calls: "Calls", *, lifeline: int, worker: int) -> NoReturn:
    """Wait until the runner or the worker ends; then leave nothing behind.

    Meanwhile, end the runner when a call passes a limit or its deadline: the worker
    may be frozen.
    """
    watched = select.poll()
    watched.register(lifeline, select.POLLHUP)
    pidfd = os.pidfd_open(child)
    watched.register(pidfd, select.POLLIN)
    watch: CallWatch | None = None
    passed: Limit | None = None
    # A process forked from the worker may hold the other end of the lifeline, so
    # the worker's own life is looked at as well.
    with contextlib.suppress(StopAsked):
        signal.signal(signal.SIGTERM, _stop)
        while passed is None and os.getppid() == worker:
            if watched.poll(LOOK_MS):
                break
            watch = calls.watched(child, watch)
            over = watch.passed() if watch else None
            if watch and over and calls.stopped_in(child, watch.number):
                passed = over
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    exited, status = os.waitpid(child, os.WNOHANG)
    descendants.end(os.getpid())
    descendants.reap_all()
    if passed is not None:
        os._exit(passed.exit_code)
    code = os.waitstatus_to_exitcode(status) if exited else 0
    # A handler must not be able to say that it passed a limit.
    code = 1 if code in BY_EXIT_CODE else code
    os._exit(DIED_BY_SIGNAL - code if code < 0 else code)


class Calls:
    """The call under way, as the runner tells the guardian: without a message each."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, SHARED_SIZE)
        self._last = 0

    @contextmanager
    def one(self, call: Mapping[str, Any]) -> Iterator[None]:
        """Have the guardian look at a call while the body runs."""
        self._last += 1
        told = {key: call[key] for key in ("limits", "until", "workdir")}
        self._shared[NUMBER.size :] = json.dumps(told).encode().ljust(ROOM)
        NUMBER.pack_into(self._shared, 0, self._last)
        try:
            yield
        finally:
            NUMBER.pack_into(self._shared, 0, 0)

    def current(self) -> int:
        """Return the number of the call under way; 0 for none."""
        number: int = NUMBER.unpack_from(self._shared)[0]
        return number

    def watched(self, child: int, before: "CallWatch | None") -> "CallWatch | None":
        """Return the call to look at now; the same one while it lasts."""
        number = self.current()
        if before is not None and before.number == number:
            return before
        content = self._shared[NUMBER.size :]
        # It may have ended, and the next may have begun, while this was read.
        if not number or self.current() != number:
            return None
        told = json.loads(content)
        meter = Meter(child, Limits(**told["limits"]), Path(told["workdir"]))
        return CallWatch(number, meter, told["until"] + LATE_S)

    def stopped_in(self, child: int, number: int) -> bool:
        """Stop the runner; return False, and let it go on, where it is past that call."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGSTOP)
            # Without reaping it: how it ended is read later.
            os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if self.current() == number:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGCONT)
        return False


@dataclass
class CallWatch:
    """One call as the guardian looks at it."""

    number: int
    meter: Meter
    until: float
    before: Limit | None = None

    def passed(self) -> Limit | None:
        """Return the limit that was passed twice running: a handler may act itself."""
        if clock.since_boot() > self.until:
            return Limit.TIME
        found, before = self.meter.passed(), self.before
        self.before = found
        return found if found == before else None


def _stop(*_: object) -> NoReturn:
    raise StopAsked


def _serve(frames_in: int, frames_out: int, calls: Calls) -> NoReturn:
    watch = Watch()
    frames = wire.Frames()
    while chunk := os.read(frames_in, wire.CHUNK):
        frame = frames.feed(chunk)
        if frame is None:
            continue
        if "warm" in frame:
            for prefix in frame["warm"]:
                builtin.load(prefix)
            answer = wire.encode({"warm": True})
        else:
            answer = _limited(frame["call"], watch, calls)
        sys.stdout.flush()
        sys.stderr.flush()
        if descendants.any_child():
            descendants.end(os.getpid())
        wire.send(frames_out, answer)
    descendants.end(os.getpid())
    os._exit(0)


def _limited(call: dict[str, Any], watch: Watch, calls: Calls) -> bytes:
    """Answer a call within its limits; passing one that the kernel holds is an answer."""
    limits = Limits(**call["limits"])
    try:
        with calls.one(call), kernel_limits(limits):
            return _bounded(_answer(call, watch))
    except MemoryError:
        passed = Limit.MEMORY
    except FileTooLarge:
        passed = Limit.FILE_SIZE
    return wire.encode({"passed": passed})


def _bounded(answer: dict[str, Any]) -> bytes:
    """The answer as a frame; one that is too large or not JSON says so instead."""
    try:
        frame = wire.encode(answer)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"The skill returned what cannot be written as JSON: {error}"
        return wire.encode(_failed("skill.output_invalid", message))
    if len(frame) <= wire.LARGEST_OUTCOME:
        return frame
    message = f"The skill's output has {len(frame)} bytes; {wire.LARGEST_OUTCOME} are allowed. Return large data as a file."
    return wire.encode(_failed("skill.output_too_large", message))


def _answer(call: dict[str, Any], watch: Watch) -> dict[str, Any]:
    try:
        found = builtin.find(call["handler"])
        if found is None:
            message = f"This worker has no handler {call['handler']}."
            return _failed("skill.no_handler", message, before_effect=True)
        if call["kind"] == "run":
            return _run(call, found, _call(call))
        return _look(call, found, _call(call), watch)
    except FileMissing as error:
        return _failed("skill.file_missing", str(error), before_effect=True)
    except withheld.SecretWithheld as error:
        return _failed(withheld.CODE, str(error), before_effect=True)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            raise FileTooLarge from error
        _log(trace(error))
        # It may have come after an effect.
        raised = Unknown("skill.raised", f"{type(error).__name__}: {plain(error)}")
        return {"outcome": wire.outcome_to_wire(raised)}


def _run(call: dict[str, Any], found: Registered, ready: Call) -> dict[str, Any]:
    # Looked at last, after all that takes time: the lease may have lapsed since.
    if clock.since_boot() > call["valid_until"]:
        return {"not_started": True}
    note_begin(call["note"])
    outcome = _outcome(found.run(ready))
    try:
        return {"outcome": wire.outcome_to_wire(outcome)}
    except (TypeError, AttributeError) as error:
        message = f"The skill returned an outcome that is not valid: {error}"
        return _failed("skill.output_invalid", message)


def _look(
    call: dict[str, Any], found: Registered, ready: Call, watch: Watch
) -> dict[str, Any]:
    """A dry run or a target check, under the guard."""
    allow = Allow(
        network=call["allow"]["network"], programs=tuple(call["allow"]["programs"])
    )
    looks: Callable[[], dict[str, Any]]
    if call["kind"] == "dry_run" and found.dry_run is not None:
        dry_run = found.dry_run
        looks = lambda: {"dry_run": wire.dry_run_to_wire(dry_run(ready))}  # noqa: E731
    elif call["kind"] == "check" and found.check is not None:
        check = found.check
        looks = lambda: {"check": wire.problems_to_wire(check(ready))}  # noqa: E731
    else:
        return _failed("skill.cannot_look", f"{found.key} has no {call['kind']}.")
    answer: dict[str, Any] = {}
    try:
        with watch.armed(Path(call["workdir"]), allow):
            answer = looks()
    except Touched:
        pass
    except Exception:
        if not watch.what:
            raise
    return {"touched": watch.what} if watch.what else answer


def _outcome(value: object) -> Outcome:
    if isinstance(value, Succeeded | Failed | Retry | Unknown):
        return value
    message = f"The skill returned {type(value).__name__}, which is no outcome."
    return Failed("skill.output_invalid", message)


def _failed(code: str, message: str, *, before_effect: bool = False) -> dict[str, Any]:
    failed = Failed(code, message, before_effect=before_effect)
    return {"outcome": wire.outcome_to_wire(failed)}


def _call(call: dict[str, Any]) -> Call:
    return LazyCall(
        folder=Path(call["workdir"]),
        fields={
            "params": _with_files(call["params"], call["paths"]),
            "config": withheld.guarded(call["config"]),
            "idempotency_key": call["idempotency_key"],
            "deadline_s": call["deadline_s"],
            "limits": Limits(**call["limits"]),
            "log": _log,
            "masker": Masker(call["sensitive"]),
        },
    )


def _with_files(value: Any, paths: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_with_files(item, paths) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"$file"}:
        return {key: _with_files(item, paths) for key, item in value.items()}
    known = value["$file"]
    path = paths.get(known["sha256"])
    if path is None:
        message = f"The file {known['name']} was not handed to the runner."
        raise FileMissing(message)
    return File(path=Path(path), **known)


def _log(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - standard output is the log
