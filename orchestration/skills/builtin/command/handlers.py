"""Command: run a program in a sandbox without network and other files."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from orchestration.skills.builtin.values import file_list
from orchestration.skills.domain.handlers import dry_run_of, handler
from orchestration.skills.domain.limits import LARGEST, Limit, Limits, sentence
from orchestration.skills.domain.outcome import (
    Call,
    DryRun,
    Failed,
    Outcome,
    Succeeded,
    Unknown,
)
from orchestration.skills.execution import folders, sandbox
from orchestration.skills.execution.reasons import plain
from orchestration.skills.execution.sandbox import (
    BadEnvironment,
    Ended,
    Program,
    SandboxUnavailable,
    Stream,
)

RUN = "command.run@1"
MARGIN_S = 2.0
MOST_FILES = 1000
SAME_NAMES = "Cannot copy the files to in/: two of them have the same name, or one has none. The program did not run. Rename them."
OUT_REPLACED = "Cannot read out/: the program ran, but replaced out/ by something that is not a folder."


@handler(RUN)
def run(call: Call) -> Outcome:
    """Run the program; return the files that it leaves in `out/`."""
    refusal = _refusal(call.config, call.params["argv"][0])
    if refusal is not None:
        return refusal
    try:
        workdir = _prepared(call)
    except (FileExistsError, IsADirectoryError):
        return _not_started("command.file_names", SAME_NAMES)
    program = Program(
        argv=call.params["argv"],
        workdir=workdir,
        scratch=call.workdir,
        environment=call.params.get("environment", {}),
        stdin=call.params.get("stdin", "").encode(),
        limits=_limits(call),
        sandboxed=sandbox.self_test().works,
    )
    seconds = max(1.0, call.deadline_s - MARGIN_S)
    try:
        ended = sandbox.run(program, deadline_s=seconds, on_text=_log)
    except BadEnvironment as error:
        return _not_started(
            "command.environment",
            f"Cannot run the program: {error}. Correct the environment.",
        )
    except SandboxUnavailable as error:
        return _not_started(
            "sandbox.unavailable",
            f"Cannot run the program: the sandbox did not start ({error}). Ask an admin.",
        )
    except (OSError, ValueError) as error:
        return _not_started(
            "command.cannot_start",
            f"Cannot run {program.argv[0]!r}: {plain(error)}. Check its name.",
        )
    return _killed(ended, program.limits, seconds) or _outcome(call, ended, workdir)


@dry_run_of(RUN)
def preview(call: Call) -> DryRun:
    """Show the command; its effect cannot be known."""
    words = " ".join(map(str, call.params["argv"]))
    where = (
        "outside any sandbox"
        if call.config.get("allow_unsandboxed")
        else "in the sandbox"
    )
    return DryRun(
        summary=f"Runs {words} {where}, or not at all.", changes=(f"runs {words}",)
    )


def _refusal(config: Mapping[str, Any], name: str) -> Failed | None:
    programs = config.get("programs")
    if programs and name not in programs:
        return _not_started(
            "command.not_listed",
            f"Cannot run {name!r}: the program is not allowed. Ask an admin to add it.",
        )
    test = sandbox.self_test()
    if test.works or config.get("allow_unsandboxed", False):
        return None
    reasons = "; ".join(test.failures)
    message = f"Cannot run the program: no sandbox works on this worker ({reasons}). Ask an admin to install one, or to allow programs without a sandbox."
    return _not_started("sandbox.unavailable", message)


def _not_started(code: str, message: str) -> Failed:
    return Failed(code, message, before_effect=True)


def _prepared(call: Call) -> Path:
    """Create the folders of the program and copy its files.

    :raises FileExistsError: when two files have the same name
    """
    workdir = call.workdir / "work"
    for path in (*("in", "out"), "../tmp", "../shm"):
        (workdir / path).mkdir(parents=True)
    for file in file_list(call.params.get("files", [])):
        target = workdir / "in" / PurePosixPath(file.name).name
        with file.path.open("rb") as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy)
    return workdir


def _limits(call: Call) -> Limits:
    """Return the limits of the call, or those of the configuration if lower."""
    config = call.config
    return replace(
        call.limits,
        memory_mb=min(call.limits.memory_mb, config.get("memory_mb", LARGEST)),
        cpu_s=min(call.limits.cpu_s, config.get("cpu_s", LARGEST)),
        file_mb=min(call.limits.file_mb, config.get("file_mb", LARGEST)),
        processes=min(call.limits.processes, config.get("programs_at_once", LARGEST)),
    )


def _killed(ended: Ended, limits: Limits, seconds: float) -> Failed | Unknown | None:
    """Return the outcome of a program that was stopped; None if it ended by itself."""
    passed = ended.passed or (Limit.TIME if ended.exit_code is None else None)
    if passed is None:
        return None
    code = "command.timed_out" if passed is Limit.TIME else str(passed)
    stderr = _text(ended.stderr)[-500:]
    message = f"{sentence(passed, limits, seconds)} {stderr}".strip()
    # Without the sandbox it may have changed something outside.
    return Failed(code, message) if ended.sandboxed else Unknown(code, message)


def _outcome(call: Call, ended: Ended, workdir: Path) -> Outcome:
    stderr = _text(ended.stderr)
    if ended.exit_code not in call.params.get("expect", [0]):
        return Failed(
            "command.exit",
            f"The program failed with exit code {ended.exit_code}. {stderr[-1000:]}",
        )
    try:
        made = folders.plain_files(workdir, "out")
    except folders.NotPlain:
        return Failed("command.out_replaced", OUT_REPLACED)
    except folders.TooMany as error:
        return Failed(
            "command.too_many_files", f"Cannot read out/: {error}. The program ran."
        )
    if len(made) > MOST_FILES:
        return Failed(
            "command.too_many_files",
            f"Cannot return the files: {len(made)} in out/ are too many (max {MOST_FILES}). The program ran.",
        )
    output = {
        "exit_code": ended.exit_code,
        "stdout": _text(ended.stdout),
        "stderr": stderr,
        "stdout_bytes": ended.stdout.total,
        "stderr_bytes": ended.stderr.total,
        "sandboxed": ended.sandboxed,
        "names": [path.relative_to(workdir / "out").as_posix() for path in made],
    }
    return Succeeded(output=output, files={"out": made})


def _log(text: bytes) -> None:
    sys.stdout.write(text.decode(errors="replace"))
    sys.stdout.flush()


def _text(stream: Stream) -> str:
    text = stream.tail.decode(errors="replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
