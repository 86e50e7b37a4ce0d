"""The work of a failure record is re-emitted: by a retry, or by a rerun."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from execfabric.lib import clock
from orchestration.runs.control import control, reemission
from orchestration.runs.errors import (
    ActReasonRequired,
    FailureSettled,
    FailureUnknown,
    NotControllable,
    StepActRefused,
)
from orchestration.runs.models import Attempt, Run
from tests.api_builders import Caller, token_of
from tests.builders import approved, claimed, completed, driven, plan, states, step
from tests.console_builders import signed_in, words
from tests.integration.cli_builders import Shell
from tests.integration.rollback_builders import FAILS, done, failing, rolled_back

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

TEXT = plan(step("first"), failing("bad", after="first"))
ENDING = plan(step("first"), failing("bad", after="first"), onFailure="abort")


@pytest.fixture
def paused(proposer, operator, worker):
    return driven(approved(TEXT, proposer, operator), worker)


@pytest.fixture
def ended(proposer, operator, worker):
    run = driven(approved(ENDING, proposer, operator), worker)
    assert run.state == "failed"
    return run


def record(run, key="bad"):
    rows = Attempt.objects.filter(step_run__run=run, step_run__key=key)
    return rows.order_by("-pk").first().pk


def re_emit(run, by, reason="The target is back.", **fields):
    return reemission.re_emit(
        failure_id=fields.get("failure_id") or record(run),
        reason=reason,
        by=by.actor(),
        at=clock.now(),
    )


def test_the_step_of_an_open_run_is_retried_once(paused, operator):
    failed = record(paused)

    run = re_emit(paused, operator)

    assert run.pk == paused.pk
    assert run.steps.get(key="bad").generation == 2
    # The same record again, as in a second tab.
    with pytest.raises(FailureSettled):
        re_emit(paused, operator, failure_id=failed)
    completed(claimed(run, "bad"))
    with pytest.raises(FailureSettled, match="the step is succeeded now"):
        re_emit(paused, operator, failure_id=failed)


def test_an_ended_run_is_proposed_again_from_the_step_once(
    ended, operator, second_operator
):
    first, second = re_emit(ended, operator), re_emit(ended, operator)

    assert first.pk == second.pk != ended.pk
    assert (first.rerun_of_id, first.rerun_from) == (ended.pk, "bad")
    assert first.state == "awaiting_approval"
    assert states(ended)["bad"] == "failed"


def test_a_failed_undo_is_retried(proposer, operator, worker):
    run = driven(approved(plan(done("s0", rollback=FAILS)), proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)

    after = re_emit(run, operator, failure_id=record(run, "s0.undo"))

    assert after.pk == run.pk
    assert after.state == "rolling_back"


def test_what_is_not_legal_is_refused_with_the_reason(
    paused, operator, second_operator, auditor, stranger
):
    with pytest.raises(FailureUnknown):
        re_emit(paused, stranger)
    with pytest.raises(NotControllable):
        re_emit(paused, auditor)
    with pytest.raises(ActReasonRequired):
        re_emit(paused, operator, reason=" ")
    control.cancel(run_id=paused.pk, by=operator.actor(), at=clock.now())
    assert re_emit(paused, operator).rerun_of_id == paused.pk


def test_an_outcome_that_is_unknown_is_resolved_first(proposer, operator, worker):
    text = plan(step("bad", "once", params={"how": "unknown"}))
    run = driven(approved(text, proposer, operator), worker)

    with pytest.raises(StepActRefused, match="Resolve the outcome first"):
        re_emit(run, operator)


def test_the_page_the_api_and_the_command_re_emit(
    paused, ended, operator, second_operator, live_server: Any, tmp_path: Path
):
    client, api = signed_in(operator), Caller(token_of(operator))
    address = f"/attention/failures/{record(paused)}/re-emit"

    listed = client.get("/attention/failures").content.decode()
    assert f'href="{address}"' in listed
    assert "The step is retried in its run." in words(client.get(address))
    refused = client.post(address, {"reason": ""})
    assert "A reason is required" in words(refused)
    answer = client.post(address, {"reason": "It is back."})
    assert answer.status_code == HTTPStatus.FOUND
    assert "has been tried again" in words(client.get(address))

    path = f"failures/{record(ended)}:re-emit"
    made = api.post(path, {}).json()
    assert made["state"] == "awaiting_approval"
    assert Run.objects.get(pk=made["run_id"]).rerun_from == "bad"
    assert api.post("failures/999999:re-emit", {}).json()["code"] == "failure.unknown"
    shell = Shell(live_server.url, tmp_path, {"operator": token_of(operator)})
    again = shell.json("operator", "attention", "re-emit", str(record(ended)))
    assert again["run_id"] == made["run_id"]
