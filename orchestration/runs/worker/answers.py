"""What an answer of the runner means for its attempt.

Whether the effect happened is one question, whether its result can be stored another:
a known success never becomes "nothing ran" or "unknown" because of the second.
"""

import logging
from pathlib import Path

from execfabric.infra import database
from execfabric.lib import clock
from execfabric.lib.masking import Masker
from execfabric.lib.refusal import Refusal
from orchestration.runs.domain import outcome
from orchestration.runs.domain.results import Failure, Finished, Lost, Result
from orchestration.runs.engine import artifacts
from orchestration.runs.engine.attempts import Grip
from orchestration.runs.errors import ArtifactNotStored
from orchestration.runs.worker import outage
from orchestration.runs.worker.watch import Cancelled, Watch
from orchestration.skills.domain.limits import Limit
from orchestration.skills.domain.outcome import Failed, Retry, Succeeded, Unknown
from orchestration.skills.execution import (
    Answer,
    LimitPassed,
    declared_output,
    mask_files,
    validate_output,
)

Ended = Answer | Cancelled
log = logging.getLogger(__name__)


def result_of(
    answer: Ended,
    watch: Watch,
    *,
    masker: Masker,
    workdir: Path,
) -> Result:
    """Return how the attempt ended; the files of a success are stored here."""
    grip = watch.grip
    if isinstance(answer, Succeeded):
        try:
            return _stored(answer, watch, masker, workdir)
        except Exception as error:
            log.exception("Cannot store the result of %s.", grip.step_run_id)
            database.leave_transaction()
            return not_stored(error)
    return _of_other(answer, grip)


def cut_off(grip: Grip, code: str, message: str) -> Failure | Lost:
    """Return the result of an attempt that may have begun its effect or ended it."""
    return outcome.cut_off(grip.spec["effect_class"], code, message)


def not_begun(error: Exception) -> Failure:
    """Return the result of an attempt whose call was never handed over."""
    if isinstance(error, Refusal):
        return Failure(error.code, error.message, ran=False)
    message = f"The worker could not start the step: {reason(error)}. Nothing ran."
    return Failure("step.not_begun", message, again=True, ran=False)


def not_stored(error: Exception) -> Failure:
    """Return the result of an effect that happened and whose result is lost."""
    code = error.code if isinstance(error, Refusal) else "step.result_not_stored"
    message = (
        "The step did its work, but its result could not be stored:"
        f" {reason(error).removesuffix('.')}."
    )
    return Failure(code, message)


def unrecorded(result: Result) -> Result:
    """Return what to record of a result that the database does not take as it is."""
    if not isinstance(result, Finished):
        return result
    message = "The step did its work, but its result could not be recorded."
    return Failure("step.result_not_stored", message)


def reason(error: Exception) -> str:
    """Return why it failed, without any value: it may be a secret."""
    if isinstance(error, Refusal):
        return error.message
    named = error.strerror if isinstance(error, OSError) else None
    return named or type(error).__name__


def _stored(answer: Succeeded, watch: Watch, masker: Masker, workdir: Path) -> Result:
    grip = watch.grip
    answer = declared_output(grip.action, answer)
    checked = validate_output(grip.action, answer, workdir)
    changed: tuple[str, ...] = ()
    if isinstance(checked, Succeeded):
        checked, changed = mask_files(checked, masker, workdir, watch.hold)
    if not isinstance(checked, Succeeded):
        return outcome.of_answer(checked, grip.spec["effect_class"])
    for name in changed:
        watch.log.add(f"[A secret in the file {name} was masked.]\n")
    files = outage.insist(
        lambda: artifacts.keep(
            checked.files,
            folder=workdir,
            step_run_id=grip.step_run_id,
            at=clock.now(),
            meanwhile=watch.hold,
        ),
        also=(ArtifactNotStored,),
        meanwhile=watch.hold,
    )
    return Finished(checked.output, files, changed)


def _of_other(answer: Ended, grip: Grip) -> Result:
    effect_class = grip.spec["effect_class"]
    match answer:
        case Cancelled():
            return Failure("run.cancelled", "It was stopped with its run.", killed=True)
        case LimitPassed(limit=Limit.TIME):
            return cut_off(grip, answer.code, answer.message)
        case LimitPassed():
            return outcome.over_limit(effect_class, answer.code, answer.message)
        case Failed() | Retry() | Unknown():
            return outcome.of_answer(answer, effect_class)
        case _:
            message = f"A step cannot end with {type(answer).__name__}."
            return cut_off(grip, "skill.answer_invalid", message)
