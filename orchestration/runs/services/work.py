"""A worker's way through a run: claim, execute, complete, and on.

The handler runs in a runner of its own; this side keeps the lease, the deadline and
the log, and is the only one of the two that can reach the database.
"""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from django.db import connection

from execfabric.lib import clock
from execfabric.lib.actor import Actor, system
from execfabric.lib.ids import span_id
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain.results import Result
from orchestration.runs.services import answers, artifacts, attempts, outage, step_log
from orchestration.runs.services.attempts import Grip
from orchestration.runs.services.loading import Memory
from orchestration.runs.services.watch import Cancelled, FenceLost, Watch
from orchestration.skills.calls import DeadlinePassed, Log, RunnerDied, WireCall
from orchestration.skills.execution import Runner, discard
from orchestration.skills.services import secrets

BY: Actor = system("worker")
log = logging.getLogger(__name__)


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

    def forget(self) -> None:
        """Drop what an error may have left in a state that nobody knows."""
        self.memory = Memory()
        connection.close()

    def close(self) -> None:
        """End the runner and remove what it left."""
        self.runner.kill()
        discard(self.home)


def work(*, step_run_id: UUID, bench: Bench) -> int:
    """Work on a run from this step on as far as it goes; return the steps done.

    Safe to call any number of times with the same id.
    """
    done = 0
    since = clock.since_boot()
    session = span_id()
    grip = outage.insist(
        lambda: attempts.claim(
            step_run_id=step_run_id,
            worker=bench.name,
            session=session,
            by=BY,
            at=clock.now(),
            memory=bench.memory,
        )
    )
    while grip is not None:
        watch = Watch(grip, since=since)
        result = _executed(watch, bench)
        done += 1
        if result is None:
            break
        since = clock.since_boot()
        grip = _complete(watch, result, bench)
    return done


def _executed(watch: Watch, bench: Bench) -> Result | None:
    """Take one attempt to its end; None when it is not this worker's any more."""
    workdir = bench.home / f"{watch.grip.step_run_id}-{watch.grip.fence}"
    try:
        return _execute(watch, bench, workdir)
    except FenceLost:
        return None
    finally:
        # Nothing of this may cost the result, or the worker its next step.
        if bench.runner.busy:
            _tried(bench.runner.kill)
        _tried(watch.log.close)
        _tried(lambda: discard(workdir))


def _execute(watch: Watch, bench: Bench, workdir: Path) -> Result:
    refused = _begun(watch, bench, workdir)
    return refused or _followed(watch, bench.runner, workdir)


def _begun(watch: Watch, bench: Bench, workdir: Path) -> Result | None:
    """Hand the call over; return a result where that did not work."""
    grip = watch.grip
    try:
        paths = artifacts.local_paths(grip.spec["files"])
        call = _call(watch, workdir)
        bench.runner.begin(call, secrets=secrets.read, paths=paths)
    except FenceLost:
        raise
    except RunnerDied as error:
        return answers.cut_off(grip, "step.runner_died", str(error))
    except Exception as error:
        if not isinstance(error, Refusal):
            log.exception("Cannot start %s.", grip.step_run_id)
        return answers.not_begun(error)
    return None


def _followed(watch: Watch, runner: Runner, workdir: Path) -> Result:
    """Wait for the end of a call; return how it ended."""
    grip = watch.grip
    try:
        answer = _await(runner, watch)
    except FenceLost:
        raise
    except DeadlinePassed as error:
        return answers.cut_off(grip, "step.timed_out", str(error))
    except RunnerDied as error:
        return answers.cut_off(grip, "step.runner_died", str(error))
    except Exception as error:
        log.exception("Cannot follow %s to its end.", grip.step_run_id)
        message = f"The worker failed while it ran: {answers.reason(error)}."
        return answers.cut_off(grip, "step.worker_failed", message)
    return answers.result_of(answer, watch, masker=runner.masker, workdir=workdir)


def _call(watch: Watch, workdir: Path) -> WireCall:
    grip = watch.grip
    return WireCall(
        handler=grip.spec["handler"],
        params=grip.spec["params"],
        config=grip.spec["config"],
        workdir=workdir,
        idempotency_key=grip.idempotency_key,
        deadline_s=float(grip.spec["timeout_s"]),
        until=watch.deadline,
        valid_until=watch.valid_until,
        limits=grip.action.limits,
    )


def _await(runner: Runner, watch: Watch) -> answers.Ended:
    """Wait for the answer while keeping lease, deadline and log.

    :raises FenceLost: when the attempt is not this worker's any more
    :raises DeadlinePassed: when the handler did not end in its time
    :raises RunnerDied: when the runner ended before it answered
    """
    while (now := clock.since_boot()) < watch.deadline:
        wait = min(watch.deadline - now, watch.next_beat - now, step_log.EVERY_S)
        item = runner.poll(max(0.0, wait))
        if isinstance(item, Log):
            watch.log.add(item.text)
        elif item is not None:
            return item
        try:
            watch.beat()
        except Cancelled as stopped:
            return stopped
    limit = watch.grip.spec["timeout_s"]
    message = f"It did not end within {limit:g} s."
    raise DeadlinePassed(message)


def _complete(watch: Watch, result: Result, bench: Bench) -> Grip | None:
    """Record the result and take the next ready step of the run.

    It is repeated until the database has given a definite answer; the session tells
    a commit of this worker whose answer was lost. After an unexpected error it is tried once more, from what is stored;
    then it is recorded that there was a result.
    """
    session = span_id()
    for attempted in (result, result, answers.unrecorded(result)):
        try:
            return outage.insist(partial(_recorded, watch, attempted, bench, session))
        except Exception:
            log.exception("Cannot record how %s ended.", watch.grip.step_run_id)
            bench.forget()
    return None


def _recorded(watch: Watch, result: Result, bench: Bench, session: str) -> Grip | None:
    return attempts.complete(
        watch.grip,
        result,
        worker=bench.name,
        session=session,
        by=BY,
        at=clock.now(),
        memory=bench.memory,
        logged=not watch.log.is_empty,
    )


def _tried(act: Callable[[], None]) -> None:
    """Do what must not cost a result that is known."""
    try:
        act()
    except Exception:
        log.exception("A worker could not clean up after a step.")
