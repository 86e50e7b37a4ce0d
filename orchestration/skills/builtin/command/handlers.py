"""Command: run a program in a sandbox, without network or other files."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from orchestration.skills.builtin.command.parsing import Unparsable, parsed
from orchestration.skills.builtin.common import file_list, storable_text
from orchestration.skills.domain.handlers import dry_run_of, handler
from orchestration.skills.domain.limits import LARGEST, Limit, Limits, sentence
from orchestration.skills.domain.outcome import (
    Call,
    DryRunResult,
    Failed,
    Outcome,
    Succeeded,
    Unknown,
    refused,
)
from orchestration.skills.execution import folders, sandbox
from orchestration.skills.execution.reasons import plain
from orchestration.skills.execution.sandbox import (
    BadEnvironment,
    Ended,
    Program,
    SandboxUnavailable,
)

RUN = "command.run@1"
MARGIN_S = 2.0
MOST_FILES = 1000
SAME_NAMES = "Cannot copy the files to in/: two of them have the same name, or one has none. The program did not run. Rename them."
OUT_REPLACED = "Cannot read out/: the program ran, but replaced out/ with something that is not a folder."


@handler(RUN)
def run(call: Call) -> Outcome:
    """Run the program; return the files that it leaves in `out/`."""
    _check(call.config, call.params["argv"][0])
    try:
        workdir = _prepared(call)
    except (FileExistsError, IsADirectoryError) as error:
        raise refused("command.file_names", SAME_NAMES) from error
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
        message = f"Cannot run the program: {error}. Correct the environment."
        raise refused("command.environment", message) from error
    except SandboxUnavailable as error:
        message = f"Cannot run the program: the sandbox did not start ({error}). Ask an admin."
        raise refused("sandbox.unavailable", message) from error
    except (OSError, ValueError) as error:
        message = f"Cannot run {program.argv[0]!r}: {plain(error)}. Check its name."
        raise refused("command.cannot_start", message) from error
    if ended.passed:
        return _stopped(program, ended, ended.passed, seconds)
    return _outcome(call, program, ended)


@dry_run_of(RUN)
def preview(call: Call) -> DryRunResult:
    """Show the command; its effect cannot be known."""
    words = " ".join(map(str, call.params["argv"]))
    where = (
        "outside any sandbox"
        if call.config.get("allow_unsandboxed")
        else "in the sandbox"
    )
    return DryRunResult(
        summary=f"Runs {words} {where}, or not at all.", changes=(f"runs {words}",)
    )


def _check(config: Mapping[str, Any], name: str) -> None:
    """Check that the program is allowed and has a sandbox, if it needs one."""
    programs = config.get("programs")
    if programs and name not in programs:
        message = (
            f"Cannot run {name!r}: the program is not allowed. Ask an admin to add it."
        )
        raise refused("command.not_listed", message)
    test = sandbox.self_test()
    if not test.works and not config.get("allow_unsandboxed", False):
        reasons = "; ".join(test.failures)
        message = f"Cannot run the program: no sandbox works on this worker ({reasons}). Ask an admin to install one, or to allow programs without a sandbox."
        raise refused("sandbox.unavailable", message)


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


def _stopped(program: Program, ended: Ended, passed: Limit, seconds: float) -> Outcome:
    code = "command.timed_out" if passed is Limit.TIME else str(passed)
    stderr = storable_text(ended.stderr.tail)[-500:]
    message = f"{sentence(passed, program.limits, seconds)} {stderr}".strip()
    # Without the sandbox it may have changed something outside.
    return Failed(code, message) if program.sandboxed else Unknown(code, message)


def _outcome(call: Call, program: Program, ended: Ended) -> Outcome:
    stderr = storable_text(ended.stderr.tail)
    if ended.exit_code not in call.params.get("expect", [0]):
        message = (
            f"The program failed with exit code {ended.exit_code}. {stderr[-1000:]}"
        )
        return Failed("command.exit", message)
    try:
        made = folders.plain_files(program.workdir, "out")
    except folders.NotPlain:
        return Failed("command.out_replaced", OUT_REPLACED)
    except folders.TooMany as error:
        message = f"Cannot read out/: {error}. The program ran."
        return Failed("command.too_many_files", message)
    if len(made) > MOST_FILES:
        message = f"Cannot return the files: {len(made)} in out/ are too many (max {MOST_FILES}). The program ran."
        return Failed("command.too_many_files", message)
    output = {
        "exit_code": ended.exit_code,
        "stdout": storable_text(ended.stdout.tail),
        "stderr": stderr,
        "stdout_bytes": ended.stdout.total,
        "stderr_bytes": ended.stderr.total,
        "sandboxed": program.sandboxed,
        "names": [
            path.relative_to(program.workdir / "out").as_posix() for path in made
        ],
    }
    if form := call.params.get("parse"):
        try:
            # A key of its own only if requested: earlier contracts do not have it.
            output["parsed"] = _value(ended, form)
        except Unparsable as error:
            message = (
                f"Cannot read the output as {form.upper()}: {error}. The program ran."
            )
            return Failed("command.not_parsed", message)
    return Succeeded(output=output, files={"out": made})


def _value(ended: Ended, form: str) -> Any:
    """Return the value that the program printed.

    :raises Unparsable: when it is too large, or not in this format
    """
    total, stored = ended.stdout.total, len(ended.stdout.tail)
    if total > stored:
        raise Unparsable(f"it is too large: {total:,} bytes (max {stored:,})")
    return parsed(storable_text(ended.stdout.tail), form)


def _log(text: bytes) -> None:
    sys.stdout.write(text.decode(errors="replace"))
    sys.stdout.flush()
