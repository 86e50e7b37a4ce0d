"""Lose the workers of steps that have a probe, and ask their targets."""

from datetime import timedelta

from execfabric.lib import clock
from orchestration.runs import tasks
from orchestration.runs.control import attention_sources, probes
from orchestration.runs.domain.probes import ProbeAnswer, Probed
from orchestration.runs.engine import attempts
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Run, StepRun
from tests.builders import NOON, approved, plan, step

HAPPENED = Probed(ProbeAnswer.HAPPENED, "It is there.", {"mark": "x"})
ABSENT = Probed(ProbeAnswer.DID_NOT_HAPPEN, "It is not there.")


def run_of(proposer, operator, action="probed", **params):
    fields = {"params": {"mark": "x", **params}}
    text = plan(step("effect", action, **fields), step("next", after="effect"))
    return approved(text, proposer, operator)


def lose_worker(run, key="effect"):
    """Claim a step, and lose its worker; return the attempt's lease."""
    row = run.steps.get(key=key)
    lease = attempts.claim(
        step_run_id=row.id, worker="doomed", session="d" * 16, at=clock.now()
    )
    expire(row)
    return lease


def expire(row):
    """End the lease of a step, as if its worker was lost."""
    StepRun.objects.filter(pk=row.pk).update(
        lease_until=clock.now() - timedelta(minutes=1)
    )
    sweep.sweep(at=clock.now())


def act(lease, witness):
    """Have the effect of an attempt, whose worker then could not tell anyone."""
    with witness.path.open("a") as out:
        out.write(f"{lease.spec['params']['mark']} {lease.idempotency_key}\n")


def follow(run, worker, key="effect"):
    return tasks.follow(str(run.steps.get(key=key).pk), worker)


def asked_of(run, *, at=NOON):
    """Return the steps of a run that need a person because their outcome is unknown."""
    found = attention_sources.unknown_outcomes(Run.objects.filter(pk=run.pk), at)
    return [item.step for item in found]


def job_of(run, session="p" * 16, *, at=None):
    row = run.steps.get(key="effect")
    return probes.claim(step_run_id=row.pk, session=session, at=at or clock.now())


def lease_key(run):
    with locked_change(run.pk, by=sweep.BY, at=clock.now()) as change:
        step_run_id = run.steps.get(key="effect").pk
        return attempts.idempotency_key(change, change.step(step_run_id))
