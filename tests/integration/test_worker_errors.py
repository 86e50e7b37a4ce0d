"""Whatever goes wrong in a worker: its next step runs, and no known result is lost."""

import errno
import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection

from execfabric.lib import clock
from orchestration.runs.domain.results import Finished, Result
from orchestration.runs.engine import artifacts, attempts
from orchestration.runs.engine.attempts import Lease
from orchestration.runs.keeper import sweep
from orchestration.runs.models import StepRun
from orchestration.runs.pages import step_page
from orchestration.runs.worker import answers, outage, work
from orchestration.runs.worker.step_log import StepLog, Window
from orchestration.skills.execution import Runner
from orchestration.skills.execution import runner as execution
from tests.builders import approved, chain, driven, plan, states, step
from tests.servers import eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def raises_once(monkeypatch, owner: Any, name: str, error: BaseException) -> list[str]:
    """Have a call raise the first time; the list tells whether it was made."""
    real = getattr(owner, name)
    calls: list[str] = []

    def failing(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        calls.append(name)
        raise error

    monkeypatch.setattr(owner, name, failing)
    return calls


def effect(**params: Any) -> str:
    """Build a plan of one effect that cannot be repeated, and that prints."""
    return plan(step("effect", "witness", params={"mark": "once", "say": 3, **params}))


@pytest.fixture
def run_of(proposer, operator, worker):
    """Run an approved plan as far as a worker can."""
    return lambda text: driven(approved(text, proposer, operator), worker)


SUCCEEDED = ("succeeded", None)
NOTHING_RAN = ("failed", False)
NOT_STORED = ("failed", True)
UNKNOWN = ("indeterminate", None)


@pytest.mark.parametrize(
    ("where", "error", "expected"),
    [
        ((execution, "resolved"), TypeError("broken"), NOTHING_RAN),
        ((Runner, "start"), NO_SPACE, NOTHING_RAN),
        ((Runner, "poll"), MemoryError(), UNKNOWN),
        ((Window, "add"), TypeError("broken"), SUCCEEDED),
        ((StepLog, "_store"), IntegrityError("duplicate key"), SUCCEEDED),
        ((StepLog, "_store"), DataError("broken"), SUCCEEDED),
        ((execution, "answer_masked"), KeyError("kind"), NOT_STORED),
        ((answers, "validate_output"), RecursionError("too deep"), NOT_STORED),
        ((answers, "mask_files"), NO_SPACE, NOT_STORED),
        ((artifacts, "store"), DataError("broken"), NOT_STORED),
        ((work, "discard"), RuntimeError("broken"), SUCCEEDED),
        ((attempts, "complete"), TypeError("broken"), SUCCEEDED),
        ((attempts, "complete"), IntegrityError("duplicate key"), SUCCEEDED),
    ],
)
def test_an_unexpected_error_leaves_the_worker_usable(
    where, error, expected, run_of, witness, monkeypatch
):
    run_of(chain(1))
    called = raises_once(monkeypatch, *where, error)

    run = run_of(effect())

    ended = run.steps.get()
    assert called
    assert (ended.state, ended.error and ended.error["ran"]) == expected
    assert expected == UNKNOWN or len(witness.read()) == (expected != NOTHING_RAN)
    assert states(run_of(effect())) == {"effect": "succeeded"}


def test_a_result_that_cannot_be_stored_says_that_the_effect_happened(
    run_of, operator, witness, monkeypatch
):
    raises_once(monkeypatch, artifacts, "store", TypeError("broken"))

    run = run_of(effect())

    error = run.steps.get().error
    assert len(witness.read()) == 1
    assert error == {
        "code": "step.result_not_stored",
        "message": "The step ran, but its result could not be stored: internal error (TypeError).",
        "ran": True,
    }
    shown = step_page.step_view(operator.actor(), run.id, "effect").happened
    assert "may have been made" in shown


def test_a_result_that_the_database_refuses_is_recorded_as_one_that_is_lost(
    run_of, witness, monkeypatch
):
    complete = attempts.complete

    def picky(lease: Lease, result: Result, **named: Any) -> Lease | None:
        if isinstance(result, Finished):
            raise DataError("broken")
        return complete(lease, result, **named)

    monkeypatch.setattr(attempts, "complete", picky)

    run = run_of(effect())

    step_run = run.steps.get()
    assert len(witness.read()) == 1
    assert (step_run.state, step_run.error["ran"]) == ("failed", True)
    assert step_run.error["code"] == "step.result_not_stored"


@pytest.mark.parametrize(
    ("params", "code", "reason"),
    [
        ({"name": "x" * 251}, "artifact.name_invalid", "name is too long"),
        ({"raw_name": "ff"}, "artifact.name_invalid", "is not valid UTF-8"),
        ({"text": "x" * 101}, "artifact.too_large", "101 bytes"),
    ],
)
def test_a_file_that_cannot_be_stored_fails_a_step_that_ran(
    params, code, reason, settings, run_of
):
    settings.MAX_ARTIFACT_BYTES = 100

    run = run_of(plan(step("writes", "write", params={"text": "kept", **params})))

    ended = run.steps.get()
    assert (ended.state, ended.error["code"]) == ("failed", code)
    assert ended.error["ran"] is True
    assert reason in ended.error["message"]
    assert states(run_of(chain(1))) == {"s0": "succeeded"}


def test_a_disk_that_is_full_for_a_moment_costs_no_result(run_of, monkeypatch):
    monkeypatch.setattr(outage, "MAX_PAUSE_S", 0.01)
    called = raises_once(monkeypatch, artifacts.Path, "replace", NO_SPACE)

    run = run_of(plan(step("writes", "write", params={"text": "stored"})))

    assert called
    assert states(run) == {"writes": "succeeded"}


def test_a_worker_that_lost_its_lease_ends_its_handler_and_stays_usable(
    settings, run_of, proposer, operator, worker, witness
):
    """It prints all the time, as a frozen worker's handler may have."""
    settings.HEARTBEAT_SECONDS = 0.3
    run = approved(effect(after=60), proposer, operator)

    def lose() -> None:
        with closing(connection):
            eventually(witness.read, within=30)
            StepRun.objects.update(lease_until=clock.now() - timedelta(minutes=1))
            sweep.sweep(at=clock.now())

    beside = threading.Thread(target=lose)
    beside.start()
    driven(run, worker)
    beside.join()

    assert states(run) == {"effect": "indeterminate"}
    assert not worker.runner.busy
    assert states(run_of(effect())) == {"effect": "succeeded"}
