"""A worker's way through a run: claim, prepare, execute, complete, and on.

The handler runs in a runner of its own; this side keeps the lease, the deadline and
the log, and is the only one of the two that can reach the database.
"""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from execfabric.lib import clock
from execfabric.lib.actor import Actor, system
from execfabric.lib.masking import Masker
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain.results import Failure, Finished, Lost, Result
from orchestration.runs.services import artifacts, attempts, outage, step_log
from orchestration.runs.services.attempts import Grip
from orchestration.runs.services.loading import Memory
from orchestration.runs.services.watch import Cancelled, FenceLost, Watch
from orchestration.skills import masked, outputs
from orchestration.skills.domain.outcome import Failed, Retry, Succeeded, Unknown
from orchestration.skills.execution import (
    LimitPassed,
    Log,
    Runner,
    RunnerDied,
    WireCall,
    discard,
)
from orchestration.skills.services import secrets

BY: Actor = system("worker")


@dataclass
class Bench:
    """What one worker keeps between steps: its name, its runner, the runs it knows."""

    name: str
    home: Path = field(
        default_factory=lambda: Path(tempfile.mkdtemp(prefix="execfabric-"))
    )
    memory: Memory = field(default_factory=Memory)
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = Runner(home=self.home)

    def close(self) -> None:
        """End the runner and remove what it left."""
        self.runner.kill()
        discard(self.home)


def work(*, step_run_id: UUID, bench: Bench) -> int:
    """Work on a run from this step on as far as it goes; return the steps done.

    Safe to call any number of times with the same id.
    """
    done = 0
    grip = attempts.claim(
        step_run_id=step_run_id,
        worker=bench.name,
        by=BY,
        at=clock.now(),
        memory=bench.memory,
    )
    while grip is not None:
        grip = _one(grip, bench)
        done += 1
    return done


def _one(grip: Grip, bench: Bench) -> Grip | None:
    """Take one attempt to its end; return the next one of the same run, if any."""
    result: Result
    try:
        paths = artifacts.local_paths(grip.spec["files"])
    except Refusal as error:
        result = Failure(error.code, error.message, ran=False)
        return _complete(grip, result, bench, logged=False)
    if not grip.intent and not attempts.intend(
        grip, by=BY, at=clock.now(), memory=bench.memory
    ):
        return None
    watch = Watch(grip)
    try:
        result = _execute(grip, bench, paths, watch)
    except FenceLost:
        return None
    return _complete(grip, result, bench, logged=not watch.log.is_empty)


def _complete(grip: Grip, result: Result, bench: Bench, *, logged: bool) -> Grip | None:
    """Record the result; repeat until the database has given a definite answer.

    The fence makes repetition safe: a first try that did commit, its answer lost,
    turns the second into a late result that changes nothing.
    """
    return outage.insist(
        lambda: attempts.complete(
            grip,
            result,
            worker=bench.name,
            by=BY,
            at=clock.now(),
            memory=bench.memory,
            logged=logged,
        )
    )


def _execute(grip: Grip, bench: Bench, paths: dict[str, Path], watch: Watch) -> Result:
    call = WireCall(
        handler=grip.spec["handler"],
        params=grip.spec["params"],
        config=grip.spec["config"],
        workdir=bench.home / f"{grip.step_run_id}-{grip.fence}",
        idempotency_key=grip.idempotency_key,
        deadline_s=float(grip.spec["timeout_s"]),
        limits=grip.action.limits,
    )
    try:
        bench.runner.begin(call, secrets=secrets.read, paths=paths)
    except Refusal as error:
        return Failure(error.code, error.message, ran=False)
    except RunnerDied as error:
        return _unknown(grip, "step.runner_died", str(error))
    try:
        answer = _await(bench.runner, call, watch)
        return _result(grip, answer, call.workdir, bench.runner.masker, watch)
    except RunnerDied as error:
        return _unknown(grip, "step.runner_died", str(error))
    finally:
        watch.log.close()
        discard(call.workdir)


def _await(runner: Runner, call: WireCall, watch: Watch) -> Any:
    """Wait for the answer while keeping lease, deadline and log.

    :raises FenceLost: when the attempt is not this worker's any more
    """
    until = time.monotonic() + call.deadline_s
    try:
        while (now := time.monotonic()) < until:
            wait = min(until - now, watch.next_beat - now, step_log.EVERY_S)
            item = runner.poll(max(0.0, wait))
            if isinstance(item, Log):
                watch.log.add(item.text)
            elif item is not None:
                return item
            watch.beat()
    except Cancelled as stopped:
        runner.kill()
        return stopped
    except FenceLost:
        runner.kill()
        raise
    runner.kill()
    return _DeadlinePassed()


def _result(
    grip: Grip, answer: Any, workdir: Path, masker: Masker, watch: Watch
) -> Result:
    if isinstance(answer, _DeadlinePassed | Cancelled | LimitPassed):
        return _stopped(grip, answer)
    if isinstance(answer, Succeeded):
        answer = outputs.declared(grip.action, answer)
    answer = outputs.validate_output(grip.action, answer, workdir)
    changed: tuple[str, ...] = ()
    if isinstance(answer, Succeeded):
        answer, changed = masked.mask_files(answer, masker, workdir)
    if isinstance(answer, Succeeded):
        for name in changed:
            watch.log.add(f"[A secret in the file {name} was masked.]\n")
        return _finished(grip, answer, workdir, changed)
    if isinstance(answer, Failed | Retry | Unknown):
        return _not_done(grip, answer)
    message = f"a call cannot answer with {type(answer).__name__}"
    raise TypeError(message)


def _finished(
    grip: Grip, answer: Succeeded, workdir: Path, masked_files: tuple[str, ...]
) -> Result:
    try:
        files = outage.insist(
            lambda: artifacts.keep(
                answer.files,
                folder=workdir,
                step_run_id=grip.step_run_id,
                at=clock.now(),
            )
        )
    except Refusal as error:
        return Failure(error.code, error.message)
    return Finished(answer.output, files, masked_files)


def _not_done(grip: Grip, answer: Failed | Retry | Unknown) -> Result:
    if isinstance(answer, Retry):
        return Failure(answer.code, answer.message, again=True, ran=False)
    # An exception may have come after an effect.
    if isinstance(answer, Unknown) or answer.code == "skill.raised":
        return _unknown(grip, answer.code, answer.message)
    return Failure(answer.code, answer.message, ran=not answer.before_effect)


def _stopped(grip: Grip, answer: "_DeadlinePassed | Cancelled | LimitPassed") -> Result:
    """Return the result of a call that did not end by itself."""
    if isinstance(answer, _DeadlinePassed):
        limit = grip.spec["timeout_s"]
        return _unknown(grip, "step.timed_out", f"It did not end within {limit:g} s.")
    if isinstance(answer, Cancelled):
        return Failure("run.cancelled", "It was stopped with its run.", killed=True)
    # Where a second run is harmless it would pass the limit again, so there is none.
    if attempts.may_rerun(grip.spec["effect_class"]):
        return Failure(answer.code, answer.message)
    return _unknown(grip, answer.code, answer.message)


def _unknown(grip: Grip, code: str, message: str) -> Result:
    """An attempt that was cut off: only for some effect classes is that harmless."""
    if attempts.may_rerun(grip.spec["effect_class"]):
        return Failure(code, message, again=True, ran=None)
    return Lost(code, f"{message} Whether it had its effect is not known.")


class _DeadlinePassed(Exception):
    pass
