"""Turn the answer of a runner into the result of its attempt.

A success whose result cannot be stored stays a known effect: it never becomes "nothing
ran" or "outcome unknown".
"""

import errno
import logging
from pathlib import Path

from execfabric.infra import database
from execfabric.lib import clock
from execfabric.lib.masking import Masker
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain import outcome
from orchestration.runs.domain.results import Failure, Finished, Lost, Result
from orchestration.runs.engine import artifacts
from orchestration.runs.engine.attempts import Lease
from orchestration.runs.errors import ArtifactNotStored
from orchestration.runs.worker import outage
from orchestration.runs.worker.monitor import AttemptMonitor, Cancelled
from orchestration.skills.domain.limits import Limit
from orchestration.skills.domain.outcome import Failed, Retry, Succeeded, Unknown
from orchestration.skills.execution import (
    Answer,
    LimitPassed,
    declared_output,
    mask_files,
    validate_output,
)

log = logging.getLogger(__name__)


def result_of(
    answer: Answer | Cancelled,
    monitor: AttemptMonitor,
    *,
    masker: Masker,
    workdir: Path,
) -> Result:
    """Return the result of the attempt, after storing the files of a success."""
    if not isinstance(answer, Succeeded):
        return _result_without_success(answer, monitor.lease)
    try:
        return _stored(answer, monitor, masker, workdir)
    except Exception as error:
        log.exception("Cannot store the result of %s.", monitor.lease.step_run_id)
        database.leave_transaction()
        return not_stored(error)


def cut_off(lease: Lease, code: str, message: str) -> Failure | Lost:
    """Return the result of an interrupted attempt that may have begun its effect."""
    return outcome.cut_off(lease.spec["effect_class"], code, message)


def not_begun(error: Exception) -> Failure:
    """Return the result of an attempt whose call was never sent."""
    if isinstance(error, Refusal):
        return Failure(error.code, error.message, ran=False)
    message = f"The worker could not start the step: {reason(error)}. Nothing ran."
    return Failure("step.not_begun", message, again=True, ran=False)


def not_stored(error: Exception) -> Failure:
    """Return the result of an effect that happened but cannot be stored."""
    code = error.code if isinstance(error, Refusal) else "step.result_not_stored"
    cause = reason(error).removesuffix(".")
    message = f"The step ran, but its result could not be stored: {cause}."
    return Failure(code, message)


def unrecorded(result: Result) -> Result:
    """Return what to record for a result that the database refuses."""
    if not isinstance(result, Finished):
        return result
    message = "The step ran, but its result could not be recorded."
    return Failure("step.result_not_stored", message)


def reason(error: Exception) -> str:
    """Return why the call failed, without values that may be secret."""
    if isinstance(error, Refusal):
        return error.message
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk of the worker is full"
    return f"internal error ({type(error).__name__})"


def _stored(
    answer: Succeeded, monitor: AttemptMonitor, masker: Masker, workdir: Path
) -> Result:
    lease = monitor.lease
    answer = declared_output(lease.action, answer)
    checked = validate_output(lease.action, answer, workdir)
    changed: tuple[str, ...] = ()
    if isinstance(checked, Succeeded):
        checked, changed = mask_files(checked, masker, workdir, monitor.keep_lease)
    if not isinstance(checked, Succeeded):
        return outcome.of_answer(checked, lease.spec["effect_class"])
    for name in changed:
        monitor.log.add(f"[A secret in the file {name} was masked.]\n")
    files = outage.retry(
        lambda: artifacts.store(
            checked.files,
            folder=workdir,
            step_run_id=lease.step_run_id,
            at=clock.now(),
            heartbeat=monitor.keep_lease,
        ),
        also=(ArtifactNotStored,),
        between=monitor.keep_lease,
    )
    return Finished(checked.output, files, changed)


def _result_without_success(answer: Answer | Cancelled, lease: Lease) -> Result:
    effect_class = lease.spec["effect_class"]
    match answer:
        case Cancelled():
            message = "The step was stopped because its run was cancelled."
            return Failure("run.cancelled", message, killed=True)
        case LimitPassed(limit=Limit.TIME):
            return cut_off(lease, answer.code, answer.message)
        case LimitPassed():
            return outcome.over_limit(effect_class, answer.code, answer.message)
        case Failed() | Retry() | Unknown():
            return outcome.of_answer(answer, effect_class)
        case _:
            name = type(answer).__name__
            message = f"The handler returned an invalid answer: {name}."
            return cut_off(lease, "skill.answer_invalid", message)
