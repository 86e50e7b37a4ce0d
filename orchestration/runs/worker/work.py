"""A worker's way through a run: claim, execute, complete, and on.

The handler runs in a runner of its own; this side keeps the lease, the deadline and
the log, and is the only one of the two that can reach the database.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connection

from execfabric.lib import clock
from execfabric.lib.actor import Actor, system
from execfabric.lib.ids import span_id
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain.results import Result
from orchestration.runs.engine import artifacts, attempts
from orchestration.runs.engine.attempts import Grip
from orchestration.runs.engine.loading import Memory
from orchestration.runs.worker import answers, give_back, handover, outage, step_log
from orchestration.runs.worker.handover import HandOver
from orchestration.runs.worker.watch import Cancelled, FenceLost, Watch
from orchestration.skills.execution import (
    DeadlinePassed,
    Log,
    NotSent,
    NotStarted,
    Runner,
    RunnerDied,
    WireCall,
    discard,
)
from orchestration.skills.services import secrets

BY: Actor = system("worker")
MOST_DEATHS = 3
"""After so many deaths of its runner before it began a call, a step fails."""
log = logging.getLogger(__name__)


class FetchTooSlow(Refusal):
    """The files of the step could not be fetched before its deadline. Nothing ran."""

    code = "step.fetch_too_slow"


@dataclass
class Bench:
    """What one worker keeps between steps: its name, its runner, the runs it knows."""

    name: str
    home: Path = field(default_factory=lambda: handover.new_home(settings.WORKER_DIR))
    memory: Memory = field(default_factory=Memory)
    runner: Runner = field(init=False)
    notes: HandOver = field(init=False)
    deaths: int = field(init=False)
    """How often in a row the runner died before it began a call."""
    is_ending: bool = False
    """Whether no other step is to be taken: the worker was asked to stop."""

    def __post_init__(self) -> None:
        self.notes = HandOver(self.home)
        self.runner = Runner(home=self.home, notes=self.notes.fd)
        self.deaths = 0

    def next_session(self) -> str:
        """Return the id of the attempt that is claimed next."""
        session = span_id()
        _tried(lambda: self.notes.claiming(session))
        return session

    def forget(self) -> None:
        """Drop what an error may have left in a state that nobody knows."""
        self.memory = Memory()
        connection.close()

    def close(self) -> None:
        """End the runner and remove what it left."""
        self.runner.kill()
        if self.notes.are_settled:
            discard(self.home)
        self.notes.close()


def work(*, step_run_id: UUID, bench: Bench) -> int:
    """Work on a run from this step on as far as it goes; return the steps done.

    Safe to call any number of times with the same id.
    """
    done = 0
    watch = _claimed(step_run_id, bench)
    while watch is not None:
        ended = _executed(watch, bench)
        watch = _next(watch, ended, bench)
        done += 1
    _tried(bench.notes.settled)
    return done


def _claimed(step_run_id: UUID, bench: Bench) -> Watch | None:
    session = bench.next_session()
    since = clock.since_boot()
    try:
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
    except Exception:
        bench.forget()
        give_back.own(session)
        raise
    return Watch(grip, since=since) if grip else None


def _next(
    watch: Watch, ended: Result | NotStarted | None, bench: Bench
) -> Watch | None:
    """Record how an attempt ended; return the next one of the same run, if any."""
    if isinstance(ended, NotStarted):
        give_back.own(watch.grip.session)
        return None
    return _completed(watch, ended, bench) if ended else None


def _executed(watch: Watch, bench: Bench) -> Result | NotStarted | None:
    """Take one attempt to its end; None when it is not this worker's any more."""
    workdir = bench.home / f"{watch.grip.step_run_id}-{watch.grip.fence}"
    try:
        return _execute(watch, bench, workdir)
    except FenceLost:
        return _lost(watch, bench)
    finally:
        # Nothing of this may cost the result, or the worker its next step.
        if bench.runner.busy:
            _tried(bench.runner.kill)
        _tried(watch.log.close)
        _tried(lambda: discard(workdir))


def _lost(watch: Watch, bench: Bench) -> NotStarted | None:
    """Return how an attempt ended that is not this worker's any more."""
    try:
        bench.runner.kill()
        return None if bench.notes.has_begun(watch.grip.session) else NotStarted()
    except Exception:
        log.exception("Cannot tell whether %s was begun.", watch.grip.step_run_id)
        return None


def _execute(watch: Watch, bench: Bench, workdir: Path) -> Result | NotStarted:
    not_begun = _begun(watch, bench, workdir)
    return not_begun or _followed(watch, bench, workdir)


def _begun(watch: Watch, bench: Bench, workdir: Path) -> Result | NotStarted | None:
    """Hand the call over; return why where that did not work."""
    grip = watch.grip
    try:
        paths = artifacts.local_paths(grip.spec["files"], watch.beat)
        watch.beat()
        _check_deadline(watch)
        bench.runner.begin(
            _call(watch, bench, workdir),
            secrets=secrets.read,
            paths=paths,
        )
    except (FenceLost, Cancelled):
        return NotStarted()
    except (NotSent, RunnerDied) as error:
        return _died(watch, bench, error)
    except Exception as error:
        if not isinstance(error, Refusal):
            log.exception("Cannot start %s.", grip.step_run_id)
        return answers.not_begun(error)
    return None


def _check_deadline(watch: Watch) -> None:
    """Check that fetching the files of a step left time for it.

    :raises FetchTooSlow: when it did not
    """
    if watch.grip.spec["files"] and clock.since_boot() > watch.deadline:
        raise FetchTooSlow


def _followed(watch: Watch, bench: Bench, workdir: Path) -> Result | NotStarted:
    """Wait for the end of a call; return how it ended."""
    grip, runner = watch.grip, bench.runner
    try:
        answer = _await(runner, watch)
    except FenceLost:
        raise
    except DeadlinePassed as error:
        return answers.cut_off(grip, "step.timed_out", str(error))
    except RunnerDied as error:
        return _died(watch, bench, error)
    except Exception as error:
        log.exception("Cannot follow %s to its end.", grip.step_run_id)
        message = f"The worker failed while it ran: {answers.reason(error)}."
        return answers.cut_off(grip, "step.worker_failed", message)
    if isinstance(answer, NotStarted):
        return answer
    return answers.result_of(answer, watch, masker=runner.masker, workdir=workdir)


def _died(watch: Watch, bench: Bench, error: Exception) -> Result | NotStarted:
    """Return how an attempt ended whose runner is dead, from what that has noted."""
    grip = watch.grip
    if bench.notes.has_begun(grip.session):
        bench.deaths = 0
        return answers.cut_off(grip, "step.runner_died", str(error))
    bench.deaths += 1
    # A runner that dies each time may be killed by the call itself.
    return NotStarted() if bench.deaths < MOST_DEATHS else answers.not_begun(error)


def _call(watch: Watch, bench: Bench, workdir: Path) -> WireCall:
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
        note=bench.notes.of_begin(grip.session),
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


def _completed(watch: Watch, result: Result, bench: Bench) -> Watch | None:
    """Record the result and take the next ready step of the run, unless it must stop.

    It is repeated until the database has given a definite answer; the session tells
    a commit of this worker whose answer was lost. After an unexpected error it is
    tried once more, from what is stored; then it is recorded that there was a result.
    """
    session = "" if bench.is_ending else bench.next_session()
    since = clock.since_boot()
    grip, errors = None, 0
    for attempted in (result, result, answers.unrecorded(result)):
        try:
            grip = outage.insist(partial(_recorded, watch, attempted, bench, session))
            break
        except Exception:
            log.exception("Cannot record how %s ended.", watch.grip.step_run_id)
            bench.forget()
            errors += 1
    if errors and session and grip is None:
        give_back.own(session)
    return Watch(grip, since=since) if grip else None


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
