"""Handlers that misbehave: they log all the time and end in every odd way.

Each writes to files outside the system: as its first instruction that it was called,
then its effect, and last how it is about to end. Loaded in the runner, so no Django.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestration.skills.domain.contract import (
    FILE_SCHEMA,
    ActionContract,
    EffectClass,
    RetryRule,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.handlers import handler
from orchestration.skills.domain.outcome import Call, Outcome, Retry, Succeeded

LOG_EVERY_S = 0.004
LARGE = 300_000
"""Characters of a large output, and bytes of a file."""
TOO_LARGE = 3_000_000
"""More than the artifact store of the chaos test takes."""


class Odd(BaseException):
    """An exception that `except Exception` does not see."""


class Mute(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError


@handler("chaos.act@1")
def act(call: Call) -> Outcome:
    """Leave the effect's line between two stretches of noise; end as asked for."""
    note(call, "calls")
    params = call.params
    noise(params.get("before", 0.0))
    if params.get("effect"):
        note(call, "")
    noise(params.get("after", 0.0))
    note(call, "ends")
    end: Outcome = ENDS[params.get("end", "plain")](call)
    return end


@handler("chaos.read@1")
def read(call: Call) -> Outcome:
    """Return all of a file that an earlier step returned, which is a large output."""
    note(call, "calls")
    noise(call.params.get("before", 0.0))
    given = call.params["file"]
    return Succeeded(output={"text": given.path.read_text(), "sha256": given.sha256})


def note(call: Call, kind: str) -> None:
    """Append a line to a file outside: to the witness, or to one beside it."""
    path = call.config["witness"] + (f".{kind}" if kind else "")
    line = f"{call.params['mark']} {call.idempotency_key}\n".encode()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line)
    os.close(fd)


def noise(seconds: float) -> None:
    """Print a line every few milliseconds for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        print(f"{time.monotonic()} still at it", flush=True)
        time.sleep(LOG_EVERY_S)


def _plain(call: Call) -> Any:
    return Succeeded(output={"mark": call.params["mark"]})


def _busy(call: Call) -> Any:
    """Two times busy, then done."""
    calls = Path(call.config["witness"] + ".calls").read_text()
    if calls.count(call.idempotency_key) < 3:
        return Retry("chaos.busy", "The target is busy.")
    return _plain(call)


def _file(call: Call) -> Any:
    path = call.workdir / "note.txt"
    path.write_text(f"{call.params['mark']} " + "x" * LARGE)
    return Succeeded(output={"bytes": LARGE}, files={"note": path})


def _named(length: int) -> Callable[[Call], Any]:
    def named(call: Call) -> Any:
        path = call.workdir / ("n" * length)
        path.write_text("a long name")
        return Succeeded(output={}, files={"note": path})

    return named


def _huge_line(call: Call) -> Any:
    sys.stdout.write("y" * 2_000_000)
    return _plain(call)


def _burst(call: Call) -> Any:
    for number in range(20_000):
        sys.stdout.write(f"line {number}\n")
    return _plain(call)


def _raw_log(call: Call) -> Any:
    os.write(1, b"\xff\xfe\x00 no text \xed\xa0\x80\n" * 100)
    return _plain(call)


def _thread(call: Call) -> Any:
    """Leave a thread behind that goes on printing."""
    threading.Thread(target=noise, args=[0.5], daemon=True).start()
    return _plain(call)


def _child(call: Call) -> Any:
    """Leave a program behind."""
    subprocess.Popen(["sleep", "60"])
    return _plain(call)


GOOD: dict[str, Callable[[Call], Any]] = {
    "plain": _plain,
    "large": lambda call: Succeeded(output={"text": "z" * LARGE}),
    "file": _file,
    "long name": _named(200),
    "huge line": _huge_line,
    "burst": _burst,
    "raw log": _raw_log,
    "thread": _thread,
    "child": _child,
    "busy": _busy,
}
"""Ends that are a success, however odd: the result has to be known in the end."""


def _raise(error: BaseException) -> Callable[[Call], Any]:
    def raising(call: Call) -> Any:
        raise error

    return raising


def _recurse(call: Call) -> Any:
    return _recurse(call)


def _return(value: Any) -> Callable[[Call], Any]:
    return lambda call: Succeeded(output={"value": value})


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _cycle(call: Call) -> Any:
    output: dict[str, Any] = {}
    output["self"] = output
    return Succeeded(output=output)


def _too_large(call: Call) -> Any:
    path = call.workdir / "note.txt"
    path.write_bytes(b"x" * TOO_LARGE)
    return Succeeded(output={}, files={"note": path})


def _no_file(call: Call) -> Any:
    return Succeeded(output={}, files={"note": call.workdir / "nothing"})


def _folder(call: Call) -> Any:
    return Succeeded(output={}, files={"note": call.workdir})


def _no_path(call: Call) -> Any:
    return Succeeded(output={}, files={"note": 7})  # type: ignore[dict-item]


def _die(call: Call) -> Any:
    os._exit(0)


def _kill(call: Call) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _close(call: Call) -> Any:
    """Close every descriptor, also the one for the answer."""
    os.closerange(0, 256)
    return _plain(call)


BAD: dict[str, Callable[[Call], Any]] = {
    "type error": _raise(TypeError("it broke")),
    "odd": _raise(Odd("odd")),
    "mute": _raise(Mute()),
    "interrupt": _raise(KeyboardInterrupt()),
    "generator exit": _raise(GeneratorExit()),
    "exit": _raise(SystemExit(0)),
    "exit text": _raise(SystemExit("no")),
    "stop iteration": _raise(StopIteration()),
    "group": _raise(BaseExceptionGroup("some", [Odd("odd")])),
    "recursion": _recurse,
    "unserialisable": _return(object()),
    "bytes": _return(b"no text"),
    "nul": _return("a\0b"),
    "surrogate": _return("\ud800"),
    "nan": _return(float("nan")),
    "large number": _return(10**30),
    "deep": _return(_nested(50_000)),
    "reserved": _return({"$secret": "lab-token"}),
    "cycle": _cycle,
    "none": lambda call: None,
    "class": lambda call: Succeeded,
    "huge": lambda call: Succeeded(output={"text": "x" * (8 << 20)}),
    "too long a name": _named(255),
    "too large a file": _too_large,
    "no file": _no_file,
    "folder": _folder,
    "no path": _no_path,
    "die": _die,
    "kill": _kill,
    "close": _close,
}
"""Ends that are no success: the step fails by name, or its outcome is unknown."""

ENDS = GOOD | BAD


def _action(name: str, **fields: Any) -> ActionContract:
    given = {
        "summary": f"Chaos: {name}.",
        "handler": "chaos.act@1",
        "input_schema": {"type": "object"},
        "output_schema": {"type": "object"},
        "risk": Risk.LOW,
        "files": ("note",),
        # A rollback waits until a lost attempt is dead.
        "timeout_s": 20.0,
        # Whoever may be repeated is repeated until the last worker was not killed.
        "retry": RetryRule(attempts=8, initial_s=0.05, max_s=0.1),
    } | fields
    return ActionContract(name=name, **given)


ONE_TRY = RetryRule(attempts=1)
SKILL = SkillContract(
    slug="chaos",
    version="1.0.0",
    name="Chaos",
    description="Actions that only the chaos test uses.",
    domain="test",
    config={
        "witness": os.environ.get("EXECFABRIC_TEST_WITNESS", "/nonexistent/witness")
    },
    actions=(
        _action("once", effect_class=EffectClass.NON_IDEMPOTENT, retry=ONE_TRY),
        _action(
            "once-gated",
            effect_class=EffectClass.NON_IDEMPOTENT,
            retry=ONE_TRY,
            risk=Risk.CRITICAL,
        ),
        _action("again", effect_class=EffectClass.IDEMPOTENT),
        _action("value", effect_class=EffectClass.PURE),
        _action(
            "read",
            handler="chaos.read@1",
            effect_class=EffectClass.PURE,
            files=(),
            input_schema={
                "type": "object",
                "required": ["file"],
                "properties": {"file": FILE_SCHEMA},
            },
        ),
    ),
    config_schema={"type": "object"},
)
