"""The program that runs handlers: a child of a worker without the worker's secrets.

It reads calls from its standard input and answers on its original standard output.
Descriptors 1 and 2 of the handlers are the log.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from execfabric.lib import clock
from execfabric.lib.masking import Masker
from orchestration.skills import installed
from orchestration.skills.domain.guard import Allow, touched
from orchestration.skills.domain.handlers import Registered
from orchestration.skills.domain.limits import Limit, Limits
from orchestration.skills.domain.outcome import (
    Call,
    CallFailed,
    Failed,
    File,
    Outcome,
    Retry,
    Succeeded,
    Unknown,
    refused,
)
from orchestration.skills.execution import descendants, wire, withheld
from orchestration.skills.execution.calls import CallKind, note_begin, replaced
from orchestration.skills.execution.guardian import SharedCall, guard
from orchestration.skills.execution.metering import kernel_limits
from orchestration.skills.execution.reasons import plain, trace

TO_WIRE: Mapping[str, Callable[[Any], Any]] = {
    CallKind.DRY_RUN: wire.dry_run_to_wire,
    CallKind.CHECK: wire.problems_to_wire,
    CallKind.PROBE: wire.probed_to_wire,
}


class Touched(BaseException):
    """A dry run tried to touch something.

    Not an `Exception`: a handler's own `except Exception` must not hide it.
    """


class LazyCall(Call):
    """A call whose folder is created on first use: most calls need none."""

    def __init__(self, *, folder: Path, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields, folder=folder)

    @cached_property
    def workdir(self) -> Path:
        folder: Path = self.__dict__["folder"]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


class AuditHook:
    """The audit hook of dry runs: inactive unless armed; it cannot be removed."""

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
        """Stop code that breaks the rules of the guard while the body runs."""
        self.what = ""
        wrote_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        self._armed = (os.path.realpath(workdir), allow)
        try:
            yield
        finally:
            self._armed = None
            sys.dont_write_bytecode = wrote_bytecode


def main(lifeline: int) -> NoReturn:
    """Fork the guardian, then serve calls until the worker closes the pipe."""
    frames_in, frames_out = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    descendants.adopt_orphans()
    worker = os.getppid()
    calls = SharedCall()
    child = os.fork()
    if child:
        for fd in (frames_in, frames_out):
            os.close(fd)
        for fd in (1, 2):
            os.dup2(null, fd)
        guard(child, calls, lifeline=lifeline, worker=worker)
    os.close(lifeline)
    descendants.die_with_parent()
    descendants.adopt_orphans()
    _serve(frames_in, frames_out, calls)


def _serve(frames_in: int, frames_out: int, calls: SharedCall) -> NoReturn:
    hook = AuditHook()
    frames = wire.Frames()
    while chunk := os.read(frames_in, wire.CHUNK):
        frame = frames.feed(chunk)
        if frame is None:
            continue
        answer = _limited(frame["call"], hook, calls)
        sys.stdout.flush()
        sys.stderr.flush()
        if descendants.any_child():
            descendants.end(os.getpid())
        wire.send(frames_out, answer)
    descendants.end(os.getpid())
    os._exit(0)


def _limited(call: dict[str, Any], hook: AuditHook, calls: SharedCall) -> bytes:
    """Answer a call within its limits; also answer if it exceeds one."""
    limits = Limits(**call["limits"])
    try:
        with calls.one(call), kernel_limits(limits):
            return _bounded(_answer(call, hook))
    except MemoryError:
        passed = Limit.MEMORY
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        passed = Limit.FILE_SIZE
    return wire.encode({"passed": passed})


def _bounded(answer: dict[str, Any]) -> bytes:
    """Encode the answer, or a failure if it is too large or not JSON."""
    try:
        frame = wire.encode(answer)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"The step ran, but its output is not valid JSON: {error}."
        return wire.encode(_failed("skill.output_invalid", message))
    if len(frame) <= wire.LARGEST_OUTCOME:
        return frame
    message = f"The step ran, but its output is too large (max {wire.LARGEST_OUTCOME} bytes). Return large data as a file."
    return wire.encode(_failed("skill.output_too_large", message))


def _answer(call: dict[str, Any], hook: AuditHook) -> dict[str, Any]:
    try:
        handler = _handler(call["handler"])
        if call["kind"] == "run":
            return _run(call, handler, _call(call))
        return _look(call, handler, _call(call), hook)
    except CallFailed as error:
        return {"outcome": wire.outcome_to_wire(error.outcome)}
    except withheld.SecretWithheld as error:
        failed = Failed(withheld.SECRET_WITHHELD, str(error), before_effect=True)
        return {"outcome": wire.outcome_to_wire(failed)}
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            raise
        _log(trace(error))
        # It may have come after an effect.
        message = f"The skill failed unexpectedly with {type(error).__name__}: {plain(error)}. It may have had an effect. See the log."
        raised = Unknown("skill.raised", message)
        return {"outcome": wire.outcome_to_wire(raised)}


def _handler(key: str) -> Registered:
    handler = installed.find(key)
    if handler is None:
        message = f"Cannot run the step: the handler {key} is not installed on this worker. Nothing was done. Ask an admin."
        raise refused("skill.no_handler", message)
    return handler


def _run(call: dict[str, Any], handler: Registered, ready: Call) -> dict[str, Any]:
    # Checked last, because the lease may have expired since.
    if clock.since_boot() > call["valid_until"]:
        return {"not_started": True}
    note_begin(call["note"])
    outcome = _outcome(handler.run(ready))
    try:
        return {"outcome": wire.outcome_to_wire(outcome)}
    except (TypeError, AttributeError) as error:
        message = f"The step ran, but the skill returned an invalid outcome: {error}."
        return _failed("skill.output_invalid", message)


def _look(
    call: dict[str, Any], handler: Registered, ready: Call, hook: AuditHook
) -> dict[str, Any]:
    """Run a dry run, a target check or a probe under the guard."""
    allow = Allow(**call["allow"])
    kind = call["kind"]
    look = getattr(handler, kind)
    if look is None:
        message = f"The handler {handler.key} has no {kind.replace('_', ' ')}."
        return _failed("skill.cannot_look", message)
    answer: dict[str, Any] = {}
    try:
        with hook.armed(Path(call["workdir"]), allow):
            answer = {kind: TO_WIRE[kind](look(ready))}
    except Touched:
        pass
    except Exception:
        if not hook.what:
            raise
    return {"touched": hook.what} if hook.what else answer


def _outcome(value: object) -> Outcome:
    if isinstance(value, Succeeded | Failed | Retry | Unknown):
        return value
    message = f"The step ran, but the skill returned {type(value).__name__} instead of an outcome."
    return Failed("skill.output_invalid", message)


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"outcome": wire.outcome_to_wire(Failed(code, message))}


def _call(call: dict[str, Any]) -> Call:
    began = call["started_at"]
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
            "started_at": began and datetime.fromisoformat(began),
        },
    )


def _with_files(params: Any, paths: dict[str, str]) -> Any:
    def local(known: dict[str, Any]) -> File:
        path = paths.get(known["sha256"])
        if path is None:
            message = f"Cannot run the step: the file {known['name']!r} is missing. Nothing was done."
            raise refused("skill.file_missing", message)
        return File(path=Path(path), **known)

    return replaced(params, "$file", local)


def _log(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - standard output is the log
