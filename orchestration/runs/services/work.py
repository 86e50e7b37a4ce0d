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

from django.conf import settings
from django.db import InternalError, NotSupportedError, OperationalError, connection

from execfabric.lib import clock
from execfabric.lib.actor import Actor, system
from execfabric.lib.refusal import Refusal
from orchestration.runs import live
from orchestration.runs.domain.states import RunState
from orchestration.runs.models import LogChunk
from orchestration.runs.services import artifacts, attempts
from orchestration.runs.services.attempts import Grip
from orchestration.runs.services.loading import Memory
from orchestration.runs.services.results import Failure, Finished, Lost, Result
from orchestration.skills import outputs
from orchestration.skills.domain.outcome import Failed, Retry, Succeeded
from orchestration.skills.execution import Log, Runner, RunnerDied, WireCall, discard
from orchestration.skills.services import secrets

BY: Actor = system("worker")
LOG_EVERY_S = 0.25
COMMIT_TRIES = 60
SELF_FENCE_MARGIN_S = 2.0
PASSING = (OperationalError, InternalError, NotSupportedError)
"""The server is away, takes no writes yet, or has other types than its kept plans."""


class FenceLost(Exception):
    """The lease passed to somebody else; nothing of this attempt counts any more."""


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
        return _complete(grip, result, bench)
    if not grip.intent and not attempts.intend(
        grip, by=BY, at=clock.now(), memory=bench.memory
    ):
        return None
    try:
        result = _execute(grip, bench, paths)
    except FenceLost:
        return None
    return _complete(grip, result, bench)


def _complete(grip: Grip, result: Result, bench: Bench) -> Grip | None:
    """Record the result; repeat until the database has given a definite answer.

    The fence makes repetition safe: a first try that did commit, its answer lost,
    turns the second into a late result that changes nothing.
    """
    for tries in range(COMMIT_TRIES):
        try:
            return attempts.complete(
                grip,
                result,
                worker=bench.name,
                by=BY,
                at=clock.now(),
                memory=bench.memory,
            )
        except PASSING:
            connection.close()
            time.sleep(min(0.1 * 2**tries, 5.0))
    return None


def _execute(grip: Grip, bench: Bench, paths: dict[str, Path]) -> Result:
    call = WireCall(
        handler=grip.spec["handler"],
        params=grip.spec["params"],
        config=grip.spec["config"],
        workdir=bench.home / f"{grip.step_run_id}-{grip.fence}",
        idempotency_key=grip.idempotency_key,
        deadline_s=float(grip.spec["timeout_s"]),
    )
    watch = _Watch(grip)
    try:
        bench.runner.begin(call, secrets=secrets.read, paths=paths)
        answer = _await(bench.runner, call, watch)
        return _result(grip, answer, call.workdir)
    except Refusal as error:
        return Failure(error.code, error.message, ran=False)
    except RunnerDied as error:
        return _unknown(grip, "step.runner_died", str(error))
    finally:
        watch.log.close()
        discard(call.workdir)


def _await(runner: Runner, call: WireCall, watch: "_Watch") -> Any:
    """Wait for the answer while keeping lease, deadline and log.

    :raises FenceLost: when the attempt is not this worker's any more
    """
    until = time.monotonic() + call.deadline_s
    try:
        while (now := time.monotonic()) < until:
            wait = min(until - now, watch.next_beat - now, LOG_EVERY_S)
            item = runner.poll(max(0.0, wait))
            if isinstance(item, Log):
                watch.log.add(item.text)
            elif item is not None:
                watch.log.dropped = runner.log_dropped
                return item
            watch.beat()
    except _Cancelled as stopped:
        runner.kill()
        return stopped
    except FenceLost:
        runner.kill()
        raise
    runner.kill()
    return _DeadlinePassed()


def _result(grip: Grip, answer: Any, workdir: Path) -> Result:
    if isinstance(answer, _DeadlinePassed):
        limit = grip.spec["timeout_s"]
        return _unknown(grip, "step.timed_out", f"It did not end within {limit:g} s.")
    if isinstance(answer, _Cancelled):
        return Failure("run.cancelled", "It was stopped with its run.", killed=True)
    answer = outputs.validate_output(grip.action, answer, workdir)
    if isinstance(answer, Succeeded):
        files = artifacts.keep(
            answer.files, step_run_id=grip.step_run_id, at=clock.now()
        )
        return Finished(answer.output, files)
    if isinstance(answer, Retry):
        return Failure(answer.code, answer.message, again=True)
    if isinstance(answer, Failed):
        return _failed(grip, answer)
    message = f"a call cannot answer with {type(answer).__name__}"
    raise TypeError(message)


def _failed(grip: Grip, answer: Failed) -> Result:
    """A refusal is known; an exception, or silence of the target, may follow an effect."""
    if answer.code == "skill.raised" or answer.code.endswith(".outcome_unknown"):
        return _unknown(grip, answer.code, answer.message)
    return Failure(answer.code, answer.message)


def _unknown(grip: Grip, code: str, message: str) -> Result:
    """An attempt that was cut off: only for some effect classes is that harmless."""
    if _rerunnable(grip):
        return Failure(code, message, again=True)
    return Lost(code, f"{message} Whether it had its effect is not known.")


def _rerunnable(grip: Grip) -> bool:
    return attempts.may_rerun(grip.spec["effect_class"])


class _DeadlinePassed(Exception):
    pass


class _Cancelled(Exception):
    pass


class _Watch:
    """The lease and the log of one attempt while its handler works."""

    def __init__(self, grip: Grip) -> None:
        self.grip = grip
        self.log = _StepLog(grip)
        now = time.monotonic()
        self.next_beat = now + settings.HEARTBEAT_SECONDS
        self._safe_until = now + settings.LEASE_SECONDS - SELF_FENCE_MARGIN_S

    def beat(self) -> None:
        """Renew the lease when it is time; write the log that has come in.

        :raises FenceLost: when the lease is somebody else's, or could not be
            renewed for so long that it may be
        :raises _Cancelled: when the run is being cancelled and stopping is harmless
        """
        self.log.write_due()
        if time.monotonic() < self.next_beat:
            return
        self.next_beat = time.monotonic() + settings.HEARTBEAT_SECONDS
        try:
            state = _renew(self.grip)
        except PASSING:
            connection.close()
            if time.monotonic() > self._safe_until:
                raise FenceLost from None
            return
        if state is None:
            raise FenceLost
        self._safe_until = (
            time.monotonic() + settings.LEASE_SECONDS - SELF_FENCE_MARGIN_S
        )
        if state == RunState.CANCELLING and _rerunnable(self.grip):
            raise _Cancelled


_RENEW = """
UPDATE runs_steprun AS step SET lease_until = clock_timestamp() + %s * interval '1 s'
FROM runs_run AS run
WHERE step.id = %s AND step.fence = %s AND step.state = 'running'
  AND run.id = step.run_id
RETURNING run.state
"""


def _renew(grip: Grip) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(_RENEW, [settings.LEASE_SECONDS, grip.step_run_id, grip.fence])
        found = cursor.fetchone()
    return found[0] if found else None


class _StepLog:
    """Collects what a handler writes and stores it in pieces."""

    def __init__(self, grip: Grip) -> None:
        self._grip = grip
        self._parts: list[str] = []
        self._offset: int | None = None
        self._written_at = time.monotonic()
        self.dropped = 0

    def add(self, text: str) -> None:
        self._parts.append(text)

    def write_due(self) -> None:
        if self._parts and time.monotonic() - self._written_at >= LOG_EVERY_S:
            self._write()

    def close(self) -> None:
        if self.dropped:
            self.add(f"\n[{self.dropped} more bytes were written and not kept]\n")
        for _ in range(2):  # the second time on a new connection
            if self._parts:
                self._write()

    def _write(self) -> None:
        """Store what has come in; what cannot be stored now waits for the next time."""
        try:
            self._store("".join(self._parts))
        except PASSING:
            # No log is worth the result of the step.
            connection.close()
            self._offset = None
        else:
            self._parts = []
            live.run_changed(self._grip.run_id)
        self._written_at = time.monotonic()

    def _store(self, text: str) -> None:
        if self._offset is None:
            ends = LogChunk.objects.filter(step_run_id=self._grip.step_run_id)
            last = ends.order_by("-offset").first()
            self._offset = last.offset + len(last.text) if last else 0
        LogChunk.objects.create(
            step_run_id=self._grip.step_run_id,
            fence=self._grip.fence,
            offset=self._offset,
            text=text,
            at=clock.now(),
        )
        self._offset += len(text)
