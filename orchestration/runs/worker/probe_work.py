"""Carry out the probe of a step whose outcome is unknown: claim it, ask, record."""

import logging
from functools import partial
from uuid import UUID

from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.control import probes
from orchestration.runs.control.probes import ProbeJob
from orchestration.runs.domain.probes import ProbeAnswer, Probed
from orchestration.runs.engine import artifacts
from orchestration.runs.worker import answers, outage
from orchestration.runs.worker.work import WorkerContext
from orchestration.skills import installed
from orchestration.skills.domain.outcome import CannotTell, DidHappen, DidNotHappen
from orchestration.skills.execution import (
    Answer,
    CallKind,
    DeadlinePassed,
    LimitPassed,
    NotSent,
    RunnerDied,
    TouchedSomething,
    WireCall,
    discard,
)
from orchestration.skills.services import secrets

MOST_TEXT = 2000
"""Characters of the evidence, and of the end of the log, that are stored."""
log = logging.getLogger(__name__)


def work(*, step_run_id: UUID, context: WorkerContext) -> int:
    """Carry out the probe of a step that is due; return how many, 0 or 1.

    Safe to call any number of times with the same id.
    """
    session = span_id()
    job = outage.retry(
        lambda: probes.claim(step_run_id=step_run_id, session=session, at=clock.now())
    )
    if job is None:
        return 0
    probed = _ask(job, context)
    try:
        _record(job, probed)
    except Exception:
        log.exception("Cannot record the probe of %s.", step_run_id)
        context.reset()
        _record(job, _cannot_tell("Its answer could not be recorded."))
    return 1


def _record(job: ProbeJob, probed: Probed) -> None:
    outage.retry(lambda: probes.answer(job, probed, at=clock.now()))


def _ask(job: ProbeJob, context: WorkerContext) -> Probed:
    """Call the probe in the runner; an error of any kind is no answer."""
    workdir = context.home / f"probe-{job.step_run_id}"
    lines: list[str] = []
    try:
        paths = artifacts.local_paths(job.spec["files"])
        call = WireCall(
            handler=job.action.probe,
            params=job.spec["params"],
            config=job.spec["config"],
            workdir=workdir,
            idempotency_key=job.idempotency_key,
            deadline_s=job.timeout_s,
            kind=CallKind.PROBE,
            allow=installed.probe_allowance(job.action.probe),
            limits=job.action.limits,
            started_at=job.started_at,
        )
        asked = partial(context.runner.complete, secrets=secrets.read, paths=paths)
        probed = _probed(asked(call, on_log=lines.append))
    except DeadlinePassed as error:
        probed = _cannot_tell(str(error))
    except (RunnerDied, NotSent):
        probed = _cannot_tell("The program that ran the check ended early.")
    except Exception as error:
        log.exception("Cannot probe %s.", job.step_run_id)
        probed = _cannot_tell(f"The check failed: {answers.reason(error)}.")
    finally:
        if context.runner.busy:
            context.runner.kill()
        discard(workdir)
    text = "".join(lines)[-MOST_TEXT:]
    return Probed(probed.answer, probed.evidence, probed.output, text)


def _probed(answer: Answer) -> Probed:
    match answer:
        case DidHappen():
            found = Probed(ProbeAnswer.HAPPENED, answer.evidence, answer.output)
        case DidNotHappen():
            found = Probed(ProbeAnswer.DID_NOT_HAPPEN, answer.evidence)
        case CannotTell():
            found = Probed(ProbeAnswer.CANNOT_TELL, answer.evidence)
        case TouchedSomething():
            return _cannot_tell(f"The check tried to touch {answer.what}.")
        case LimitPassed():
            return _cannot_tell(answer.message)
        case _:
            return _cannot_tell("The check failed. Its log says why.")
    evidence = _storable(found.evidence)
    if not evidence.strip():
        return _cannot_tell("The check gave no evidence.")
    return Probed(found.answer, evidence, found.output)


def _cannot_tell(why: str) -> Probed:
    return Probed(ProbeAnswer.CANNOT_TELL, _storable(why))


def _storable(text: str) -> str:
    """Cut a text, and replace what Postgres cannot store: NUL and lone surrogates."""
    plain = text.encode(errors="replace").decode()[:MOST_TEXT]
    return plain.replace("\0", "\N{REPLACEMENT CHARACTER}")
