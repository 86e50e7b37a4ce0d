"""Work on a run: claim a step, execute it, complete it, and continue with the next.

The handler runs in a runner process. This side keeps the lease, the deadline and the log,
and only this side has access to the database.
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
from execfabric.lib.ids import span_id
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain.results import Result
from orchestration.runs.engine import artifacts, attempts
from orchestration.runs.engine.attempts import Lease
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.worker import answers, give_back, handover, outage, step_log
from orchestration.runs.worker.handover import HandoverNotes
from orchestration.runs.worker.monitor import AttemptMonitor, Cancelled, LeaseLost
from orchestration.skills.execution import (
    Answer,
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

Ended = Result | NotStarted
MAX_DEATHS = 3
"""A step fails after its runner died this often before it began the call."""
log = logging.getLogger(__name__)


class FetchTooSlow(Refusal):
    """Cannot fetch the files of the step before its deadline. Nothing ran. Raise its timeout."""

    code = "step.fetch_too_slow"


@dataclass
class WorkerContext:
    """The state of a worker between steps: its name, its runner, its cached runs."""

    name: str
    home: Path = field(default_factory=lambda: handover.new_home(settings.WORKER_DIR))
    cache: RunCache = field(default_factory=RunCache)
    runner: Runner = field(init=False)
    notes: HandoverNotes = field(init=False)
    deaths: int = 0
    """Deaths in a row of the runner before it began a call."""
    is_ending: bool = False
    """True once the worker is stopping: it claims no other step."""

    def __post_init__(self) -> None:
        self.notes = HandoverNotes(self.home)
        self.runner = Runner(home=self.home, notes=self.notes.fd)

    def next_session(self) -> str:
        """Return a session id for the attempt that is claimed next."""
        session = span_id()
        _try(lambda: self.notes.claiming(session))
        return session

    def reset(self) -> None:
        """Drop the cache and the connection, which an error may have left inconsistent."""
        self.cache = RunCache()
        connection.close()

    def close(self) -> None:
        """End the runner and remove its files."""
        self.runner.kill()
        if self.notes.are_settled:
            discard(self.home)
        self.notes.close()


def work(*, step_run_id: UUID, context: WorkerContext) -> int:
    """Execute a step and the ready steps after it; return how many.

    Safe to call any number of times with the same id.
    """
    done = 0
    monitor = _claim(step_run_id, context)
    while monitor is not None:
        done += 1
        result = _execute(monitor, context)
        if isinstance(result, NotStarted):
            give_back.own(monitor.lease.session)
            break
        monitor = _complete(monitor, result, context) if result else None
    _try(context.notes.settled)
    return done


def _claim(step_run_id: UUID, context: WorkerContext) -> AttemptMonitor | None:
    session = context.next_session()
    since = clock.since_boot()
    try:
        lease = outage.retry(
            lambda: attempts.claim(
                step_run_id=step_run_id,
                worker=context.name,
                session=session,
                at=clock.now(),
                cache=context.cache,
            )
        )
    except Exception:
        context.reset()
        give_back.own(session)
        raise
    return AttemptMonitor(lease, since=since) if lease else None


def _execute(monitor: AttemptMonitor, context: WorkerContext) -> Ended | None:
    """Execute one attempt; return None if its lease was lost."""
    workdir = context.home / f"{monitor.lease.step_run_id}-{monitor.lease.fence}"
    try:
        return _begin(monitor, context, workdir) or _follow(monitor, context, workdir)
    except LeaseLost:
        return _lost(monitor, context)
    finally:
        # No error here may lose the result or the next step.
        if context.runner.busy:
            _try(context.runner.kill)
        _try(monitor.log.close)
        _try(lambda: discard(workdir))


def _lost(monitor: AttemptMonitor, context: WorkerContext) -> NotStarted | None:
    """Return NotStarted if an attempt without a lease certainly never began."""
    try:
        context.runner.kill()
        return None if context.notes.has_begun(monitor.lease.session) else NotStarted()
    except Exception:
        log.exception("Cannot tell if %s was begun.", monitor.lease.step_run_id)
        return None


def _begin(
    monitor: AttemptMonitor, context: WorkerContext, workdir: Path
) -> Ended | None:
    """Send the call to the runner; return a result only if that failed."""
    lease = monitor.lease
    try:
        paths = artifacts.local_paths(lease.spec["files"], monitor.heartbeat)
        monitor.heartbeat()
        _check_deadline(monitor)
        monitor.check_begin()
        call = _call(monitor, context, workdir)
        context.runner.begin(call, secrets=secrets.read, paths=paths)
    except (LeaseLost, Cancelled):
        return NotStarted()
    except (NotSent, RunnerDied) as error:
        return _died(monitor, context, error)
    except Exception as error:
        if not isinstance(error, Refusal):
            log.exception("Cannot start %s.", lease.step_run_id)
        return answers.not_begun(error)
    return None


def _check_deadline(monitor: AttemptMonitor) -> None:
    """Check that the step has time left after its files were fetched.

    :raises FetchTooSlow: when the deadline has passed
    """
    if monitor.lease.spec["files"] and clock.since_boot() > monitor.deadline:
        raise FetchTooSlow


def _follow(monitor: AttemptMonitor, context: WorkerContext, workdir: Path) -> Ended:
    """Wait for the answer to a call; return its result."""
    lease, runner = monitor.lease, context.runner
    try:
        answer = _await(runner, monitor)
    except LeaseLost:
        raise
    except DeadlinePassed as error:
        return answers.cut_off(lease, "step.timed_out", str(error))
    except RunnerDied as error:
        return _died(monitor, context, error)
    except Exception as error:
        log.exception("Cannot follow %s.", lease.step_run_id)
        message = f"The worker failed while the step ran: {answers.reason(error)}."
        return answers.cut_off(lease, "step.worker_failed", message)
    if isinstance(answer, NotStarted):
        return answer
    return answers.result_of(answer, monitor, masker=runner.masker, workdir=workdir)


def _died(monitor: AttemptMonitor, context: WorkerContext, error: Exception) -> Ended:
    """Return the result of an attempt whose runner died, from the notes it left."""
    lease = monitor.lease
    if context.notes.has_begun(lease.session):
        context.deaths = 0
        return answers.cut_off(lease, "step.runner_died", str(error))
    context.deaths += 1
    # If the runner dies each time, the call itself may kill it.
    return NotStarted() if context.deaths < MAX_DEATHS else answers.not_begun(error)


def _call(monitor: AttemptMonitor, context: WorkerContext, workdir: Path) -> WireCall:
    lease = monitor.lease
    return WireCall(
        handler=lease.spec["handler"],
        params=lease.spec["params"],
        config=lease.spec["config"],
        workdir=workdir,
        idempotency_key=lease.idempotency_key,
        deadline_s=float(lease.spec["timeout_s"]),
        until=monitor.deadline,
        valid_until=monitor.valid_until,
        limits=lease.action.limits,
        note=context.notes.of_begin(lease.session),
    )


def _await(runner: Runner, monitor: AttemptMonitor) -> Answer | Cancelled:
    """Wait for the answer while keeping the lease, the deadline and the log.

    :raises LeaseLost: when another worker may hold the lease
    :raises DeadlinePassed: when the handler did not finish before its deadline
    :raises RunnerDied: when the runner ended before it answered
    """
    while (now := clock.since_boot()) < monitor.deadline:
        wait = min(monitor.deadline - now, monitor.next_beat - now, step_log.EVERY_S)
        item = runner.poll(max(0.0, wait))
        if isinstance(item, Log):
            monitor.log.add(item.text)
        elif item is not None:
            return item
        try:
            monitor.heartbeat()
        except Cancelled as stopped:
            return stopped
    limit = monitor.lease.spec["timeout_s"]
    raise DeadlinePassed(f"The step did not finish within {limit:g} s.")


def _complete(
    monitor: AttemptMonitor, result: Result, context: WorkerContext
) -> AttemptMonitor | None:
    """Record the result and claim the next ready step, unless the worker is stopping.

    This is repeated until the database gives a definite answer; the session id identifies
    a commit whose answer was lost. After an unexpected error it is tried once more from
    the stored data; then only the fact that there was a result is recorded.
    """
    session = "" if context.is_ending else context.next_session()
    since = clock.since_boot()
    lease, errors = None, 0
    for attempted in (result, result, answers.unrecorded(result)):
        try:
            lease = outage.retry(partial(_record, monitor, attempted, context, session))
            break
        except Exception:
            log.exception("Cannot record the result of %s.", monitor.lease.step_run_id)
            context.reset()
            errors += 1
    if errors and session and lease is None:
        give_back.own(session)
    return AttemptMonitor(lease, since=since) if lease else None


def _record(
    monitor: AttemptMonitor, result: Result, context: WorkerContext, session: str
) -> Lease | None:
    monitor.log.settle()
    return attempts.complete(
        monitor.lease,
        result,
        worker=context.name,
        session=session,
        at=clock.now(),
        cache=context.cache,
        logged=not monitor.log.is_empty,
    )


def _try(act: Callable[[], None]) -> None:
    """Call `act`; log errors, because they must not lose a known result."""
    try:
        act()
    except Exception:
        log.exception("Cannot clean up after a step.")
