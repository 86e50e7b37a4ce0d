"""The target of a step with an unknown outcome is asked before a person is."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs import dispatch
from orchestration.runs.domain import outcome
from orchestration.runs.domain import probes as domain
from orchestration.runs.engine.quarantine import Quarantine
from orchestration.runs.keeper import sweep
from orchestration.runs.worker import probe_work
from tests.builders import (
    driven,
    states,
)
from tests.database import record_attempts
from tests.integration.probe_builders import (
    act,
    asked_of,
    follow,
    lose_worker,
    run_of,
)
from tests.record import is_whole, kinds, payloads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "witness"),
]


@pytest.fixture
def people(proposer, operator):
    return proposer, operator


@pytest.fixture(autouse=True)
def killed_at_once(monkeypatch):
    """Take a lost attempt for dead at once, as its guardian would have killed it."""
    monkeypatch.setattr(outcome, "KILL_MARGIN", timedelta(hours=-1))
    monkeypatch.setenv("EXECFABRIC_SECRET_LAB_TOKEN", "very-secret-token")


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


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("unsure", "The target is not reachable."),
        ("raise", "The check failed. Its log says why."),
        ("die", "The program that ran the check ended early."),
        ("hang", "did not finish in"),
        ("touch", "The check tried to touch the file"),
        ("rubbish", "The check failed. Its log says why."),
        ("silent", "The check gave no evidence."),
        ("bad output", "its output cannot be used"),
        ("hostile", "xxx"),
        ("secret", "The token is [masked]."),
    ],
)
def test_a_probe_that_does_not_answer_leaves_the_outcome_to_a_person(
    how, says, people, worker, witness, monkeypatch
):
    run = run_of(*people, probe=how)
    act(lose_worker(run), witness)
    assert asked_of(run) == []
    if how == "hang":
        monkeypatch.setattr(domain, "SECONDS", 1.0)

    follow(run, worker)

    row = run.steps.get(key="effect")
    run.refresh_from_db()
    assert (row.state, run.state, row.probe_at) == ("indeterminate", "paused", None)
    assert row.probe_record["answer"] == "cannot_tell"
    assert says in row.probe_record["evidence"]
    assert len(row.probe_record["evidence"]) <= probe_work.MOST_TEXT
    assert how in {"die", "hang"} or "looking, begun at 20" in row.probe_record["log"]
    assert len(witness.read()) == 1
    assert asked_of(run) == ["effect"]
    assert kinds(run, "effect")[-1] == "step.probed"
    assert is_whole(run)
    assert follow(run, worker) == 0


def test_the_target_is_not_asked_while_the_old_attempt_may_live(
    proposer, operator, worker, witness, monkeypatch
):
    run = run_of(proposer, operator)
    lose_worker(run)
    monkeypatch.setattr(outcome, "KILL_MARGIN", timedelta(hours=1))

    assert follow(run, worker) == 0

    assert "step.probe_started" not in kinds(run, "effect")
    record_attempts(timedelta(hours=2))
    assert follow(run, worker) == 1


def test_a_probe_is_due_when_the_old_attempt_is_certainly_dead(
    proposer, operator, worker, witness, monkeypatch
):
    monkeypatch.undo()
    monkeypatch.setenv("EXECFABRIC_SECRET_LAB_TOKEN", "very-secret-token")
    run = run_of(proposer, operator)
    lose_worker(run)

    row = run.steps.get(key="effect")
    begun = row.attempts.get().recorded_at
    assert row.probe_at == begun + timedelta(seconds=30) + outcome.KILL_MARGIN
    assert follow(run, worker) == 0


def test_the_keeper_hints_at_probes_that_are_due_also_after_a_loss_of_all_hints(
    proposer, operator, worker, witness, monkeypatch
):
    run = run_of(proposer, operator)
    lose_worker(run)
    sent: list[object] = []
    monkeypatch.setattr(dispatch, "send", sent.extend)
    row = run.steps.get(key="effect")

    later = clock.now() + timedelta(hours=1)
    sweep.sweep(at=later)
    assert sent == [row.pk]
    sweep.sweep(at=later)
    assert sent == [row.pk]
    sweep.sweep(at=later, hint_all=True)
    assert sent == [row.pk, row.pk]
    follow(run, worker)
    sent.clear()
    sweep._due_probes(Quarantine(by=sweep.BY, at=later), hint_all=True)
    assert sent == []
