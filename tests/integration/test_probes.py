"""The target of a step with an unknown outcome is asked before a person is."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs import tasks
from orchestration.runs.domain import outcome
from orchestration.runs.engine import attempts
from orchestration.runs.keeper import sweep
from orchestration.runs.models import StepRun
from tests.builders import approved, driven, plan, states, step
from tests.record import is_whole, kinds, payloads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "witness", "secret"),
]


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setenv("EXECFABRIC_SECRET_LAB_TOKEN", "very-secret-token")


@pytest.fixture(autouse=True)
def killed_at_once(monkeypatch):
    """Take a lost attempt for dead at once, as its guardian would have killed it."""
    monkeypatch.setattr(outcome, "KILL_MARGIN", timedelta(hours=-1))


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
    StepRun.objects.filter(pk=row.pk).update(
        lease_until=clock.now() - timedelta(minutes=1)
    )
    sweep.sweep(at=clock.now())
    return lease


def act(lease, witness):
    """Have the effect of an attempt, whose worker then could not tell anyone."""
    with witness.path.open("a") as out:
        out.write(f"{lease.spec['params']['mark']} {lease.idempotency_key}\n")


def follow(run, worker, key="effect"):
    return tasks.follow(str(run.steps.get(key=key).pk), worker)


def test_an_effect_that_is_found_ends_the_step_and_no_one_is_asked(
    proposer, operator, worker, witness
):
    run = run_of(proposer, operator)
    act(lose_worker(run), witness)
    assert states(run)["effect"] == "indeterminate"

    follow(run, worker)

    row = run.steps.get(key="effect")
    assert (row.state, row.output, row.probe_at) == ("succeeded", {"mark": "x"}, None)
    assert driven(run, worker).state == "succeeded"
    assert len(witness.read()) == 1
    [resolved] = payloads(run, "step.resolved")
    assert (resolved["happened"], resolved["evidence"]) == (True, "Line 0.")
    assert kinds(run, "effect")[-3:] == [
        "step.outcome_unknown",
        "step.probe_started",
        "step.resolved",
    ]
    assert is_whole(run)


def test_an_effect_that_did_not_happen_happens_once(
    proposer, operator, worker, witness
):
    run = run_of(proposer, operator)
    lose_worker(run)

    follow(run, worker)

    run.refresh_from_db()
    assert (run.state, states(run)["effect"]) == ("running", "ready")
    assert driven(run, worker).state == "succeeded"
    assert len(witness.read()) == 1
    assert is_whole(run)
