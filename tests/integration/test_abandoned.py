"""Unknown outcomes: when an old attempt is certainly dead, and steps that are abandoned."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from execfabric.lib import clock
from orchestration.runs.control import control, recovery, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.engine import attempts, failures
from orchestration.runs.engine.attempts import Lease
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.errors import OldAttemptMayLive, OutputInvalid, StepActRefused
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.skills.execution.runner import ROOT
from orchestration.skills.installed import EXTRA
from tests.builders import (
    DONE,
    approved,
    claimed,
    completed,
    driven,
    outputs,
    plan,
    states,
    step,
)
from tests.database import record_attempts, refuses
from tests.integration.fallback_builders import BAD, with_fallback
from tests.integration.runner_builders import alive, living_below
from tests.integration.subplan_builders import inner, save, uses
from tests.integration.test_failures import lapse
from tests.record import is_whole, payloads
from tests.servers import eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
ONCE = step("once", "witness", params={"mark": "x"})


def claim_of(member: StepRun) -> Lease | None:
    at = clock.now()
    return attempts.claim(step_run_id=member.pk, worker="w", session="a" * 16, at=at)


def lost(member: StepRun) -> StepRun:
    """Lose the worker of a step after its intent."""
    claim_of(member)
    lapse(member)
    sweep.sweep(at=clock.now())
    member.refresh_from_db()
    return member


def unknown_of(run: Run, key: str = "once") -> StepRun:
    """Lose the worker of a step after its intent; return the step."""
    return lost(run.steps.get(key=key))


def found(unknown: StepRun, by, *, happened: bool | None) -> StepRun:
    return recovery.resolve(
        step_run_id=unknown.pk,
        happened=happened,
        evidence="Looked at the target.",
        by=by.actor(),
        at=clock.now(),
    )


def aged(by: timedelta = timedelta(hours=1)) -> None:
    """Let the deadline of every attempt have passed."""
    record_attempts(by)


def test_the_clock_of_the_worker_does_not_prove_its_attempt_dead(
    proposer, operator, witness
):
    run = approved(plan(ONCE), proposer, operator)
    row = run.steps.get()
    early = clock.now() - timedelta(days=1)
    attempts.claim(step_run_id=row.pk, worker="late", session="a" * 16, at=early)
    lapse(row)
    sweep.sweep(at=clock.now())
    unknown = run.steps.get()

    with pytest.raises(OldAttemptMayLive):
        found(unknown, operator, happened=False)
    aged()
    assert found(unknown, operator, happened=False).state == "failed"


def test_the_database_refuses_to_change_when_an_attempt_was_recorded(
    proposer, operator, witness
):
    """It would prove at once that the old attempt is dead."""
    run = approved(plan(ONCE), proposer, operator)
    unknown = unknown_of(run)
    refuses("UPDATE runs_attempt SET recorded_at = recorded_at - interval '1 day'")

    with pytest.raises(OldAttemptMayLive):
        found(unknown, operator, happened=False)


def test_an_earlier_attempt_with_a_longer_deadline_must_be_dead_too(
    proposer, operator, witness
):
    run = approved(plan(ONCE), proposer, operator)
    unknown = unknown_of(run)
    aged()
    found(unknown, operator, happened=False)
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    unknown = unknown_of(run)

    first, second = Attempt.objects.order_by("fence")
    record_attempts(timedelta(), [first])
    record_attempts(timedelta(hours=1), [second])
    with pytest.raises(OldAttemptMayLive):
        found(unknown, operator, happened=False)


def test_while_the_old_process_may_live_no_way_leads_to_a_second_try(
    proposer, operator, worker, witness
):
    """No second try writes a line, and the late result of the first is only evidence."""
    run = approved(plan(ONCE), proposer, operator)
    old = claimed(run, "once")
    lapse(run.steps.get())
    sweep.sweep(at=clock.now())
    unknown = run.steps.get()

    for _ in range(3):
        with pytest.raises(OldAttemptMayLive):
            found(unknown, operator, happened=False)
        control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
        run = driven(run, worker)
    found(unknown, operator, happened=None)
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)
    completed(old)

    assert witness.read() == []
    assert Attempt.objects.count() == 1
    assert (run.state, states(run)) == ("failed", {"once": "failed"})
    assert is_whole(run)


@pytest.mark.parametrize(
    ("on_failure", "end"),
    [
        ("pause", "partially_succeeded"),
        ("continue", "partially_succeeded"),
        ("abort", "failed"),
    ],
)
def test_a_run_goes_on_without_an_abandoned_step(
    on_failure, end, proposer, operator, worker, witness
):
    text = plan(
        step("before"),
        ONCE | {"dependsOn": ["before"]},
        step("next", after="once"),
        onFailure=on_failure,
    )
    run = approved(text, proposer, operator)
    completed(claimed(run, "before"))
    lapse(run.steps.get(key="once"))
    sweep.sweep(at=clock.now())
    found(run.steps.get(key="once"), operator, happened=None)
    run.refresh_from_db()
    assert run.state == "paused"

    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert run.state == end
    assert states(run) == {"before": "succeeded", "once": "failed", "next": "skipped"}
    error = run.steps.get(key="once").error
    assert (error["code"], error["ran"]) == ("step.outcome_abandoned", None)
    assert "Looked at the target." in error["message"]
    [fact] = [f for f in payloads(run, "step.failed") if "evidence" in f]
    assert (fact["happened"], fact["evidence"]) == (None, "Looked at the target.")
    assert witness.read() == []
    assert is_whole(run)


def test_an_abandoned_step_does_not_fall_back(proposer, operator, worker, witness):
    other = {"skill": "lab", "action": "echo", "params": {"value": 1}}
    text = plan(ONCE | {"fallback": other})
    run = approved(text, proposer, operator)
    found(unknown_of(run), operator, happened=None)
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert run.state == "failed"
    assert not run.steps.filter(parent__isnull=False).exists()


def test_an_abandoned_fallback_is_never_tried_again(
    proposer, operator, worker, witness
):
    other = {"skill": "lab", "action": "witness", "params": {"mark": "x"}}
    text = plan(with_fallback(fallback=other), step("z"))
    run = approved(text, proposer, operator)
    completed(claimed(run, "q"), BAD)
    found(unknown_of(run, "q.fallback"), operator, happened=None)
    aged()
    owner = run.steps.get(key="q")
    assert owner.error["code"] == "step.outcome_abandoned"

    for act in (step_actions.retry, step_actions.fall_back):
        with pytest.raises(StepActRefused):
            act(Request(owner.pk, "Again.", by=operator.actor(), at=clock.now()))
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert run.state == "partially_succeeded"
    assert states(run) == {"q": "failed", "q.fallback": "failed", "z": "succeeded"}
    assert Attempt.objects.filter(step_run__key="q.fallback").count() == 1
    assert is_whole(run)


def test_no_caller_can_try_an_abandoned_step_again(proposer, operator, witness):
    run = approved(plan(ONCE), proposer, operator)
    found(unknown_of(run), operator, happened=None)

    with (
        pytest.raises(RuntimeError, match="abandoned"),
        locked_change(run.pk, by=operator.actor(), at=clock.now()) as change,
    ):
        failures.try_again(change.step(run.steps.get().pk), change)


LIST = plan(
    step(
        "each",
        "witness",
        params={"mark": "$item"},
        forEach=["a", "b"],
        onItemError="continue",
    ),
    step("z"),
)
SUB_PLAN = plan(uses(), step("z"))


@pytest.mark.parametrize("kind", ["list", "sub-plan"])
def test_a_run_goes_on_without_an_abandoned_member(
    kind, proposer, operator, worker, witness
):
    save(inner(ONCE, outputs={}), proposer)
    text, container = (LIST, "each") if kind == "list" else (SUB_PLAN, "sub")
    run = approved(text, proposer, operator)
    member = run.steps.get(parent__isnull=False, state="ready")
    found(lost(member), operator, happened=None)
    aged()

    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert run.state == "partially_succeeded"
    assert (states(run)[container], states(run)["z"]) == ("failed", "succeeded")
    assert run.steps.get(key=container, parent=None).generation == 1
    assert member.attempts.count() == 1
    assert is_whole(run)


def test_only_what_was_not_abandoned_is_tried_again(proposer, operator, witness):
    """After a user has skipped the abandoned item, the list ends without it."""
    run = approved(LIST, proposer, operator)
    first, second = run.steps.filter(parent__isnull=False).order_by("item")
    found(lost(first), operator, happened=None)
    aged()
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    completed(claim_of(second), BAD)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("paused", "Step each failed.")

    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, first.generation) == ("failed", 1)
    assert (second.state, second.generation) == ("ready", 2)
    step_actions.skip(Request(first.pk, "No.", by=operator.actor(), at=clock.now()))
    completed(claim_of(second), DONE)

    assert run.steps.get(key="each", parent=None).state == "succeeded"
    assert is_whole(run)


def test_a_run_with_an_abandoned_step_can_be_cancelled(proposer, operator, witness):
    run = approved(plan(ONCE), proposer, operator)
    found(unknown_of(run), operator, happened=None)
    control.cancel(run_id=run.pk, by=operator.actor(), at=clock.now())
    run.refresh_from_db()

    assert run.state == "cancelled"
    assert states(run) == {"once": "failed"}


def test_a_late_result_of_an_abandoned_step_is_only_evidence(
    proposer, operator, witness
):
    run = approved(plan(ONCE), proposer, operator)
    old = claimed(run, "once")
    lapse(run.steps.get())
    sweep.sweep(at=clock.now())
    found(run.steps.get(), operator, happened=None)

    assert completed(old, DONE) is None
    assert states(run) == {"once": "failed"}
    assert outputs(run) == {"once": None}


def test_an_abandoned_step_has_no_output(proposer, operator, witness):
    run = approved(plan(ONCE), proposer, operator)
    unknown = unknown_of(run)
    with pytest.raises(OutputInvalid):
        recovery.resolve(
            step_run_id=unknown.pk,
            happened=None,
            evidence="Nobody knows.",
            by=operator.actor(),
            at=clock.now(),
            output={"a": 1},
        )


WORKER = """
import sys, time
from pathlib import Path
from execfabric.lib import clock
from orchestration.skills.execution.calls import WireCall
from orchestration.skills.execution import Runner
home, ready, until = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
runner = Runner(home=home / "home")
runner.start()
runner.begin(WireCall("misfit.run@1", {"how": "hang", "ready": ready}, home / "work",
    "key", 600, until=until))
time.sleep(600)
"""


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize(
    "how", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "killed"]
)
def test_the_guardian_kills_the_runner_of_a_frozen_or_dead_worker(
    how, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv(EXTRA, "tests.skill_lab")
    ready = tmp_path / "ready"
    until = clock.since_boot() + 15
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(ready), str(until)]
    worker = subprocess.Popen(command, cwd=ROOT)
    try:
        assert eventually(ready.exists, within=60)
        below = living_below(worker.pid)
        assert len(below) > 2

        worker.send_signal(how)

        assert eventually(lambda: not any(map(alive, below)), within=120)
        # The frozen worker has done nothing: it is still stopped.
        assert worker.poll() is None or how is signal.SIGKILL
    finally:
        worker.kill()
        worker.wait()
