"""What a run leaves behind, and how its steps are bounded, on real commits."""

import io
import json
import os
import zipfile
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import pytest
from django.db import IntegrityError

from audit import selectors as record
from audit.models import Event
from execfabric.lib import clock
from orchestration.runs.control import control
from orchestration.runs.engine.artifacts import open_artifact
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt
from orchestration.skills import installed
from orchestration.skills.domain import handlers
from tests import committed, targets
from tests.builders import (
    approved,
    decided,
    driven,
    open_gate,
    outputs,
    plan,
    states,
    step,
)
from tests.skill_calls import http_server, reply

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
SECRET = "laboratory-secret-token"
LATER = timedelta(minutes=5)


@pytest.mark.promise("S4.11")
def test_the_log_of_a_run_names_every_turn_and_takes_no_change(
    proposer, operator, worker
):
    text = plan(
        step("good"),
        step("bad", "misbehave", params={"how": "fail"}),
        step("next", after="bad"),
        onFailure="continue",
    )
    run = approved(text, proposer, operator)
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    log = [(one.kind, one.step) for one in record.events_after(run.stream, 0)]

    turns = [
        ("run.paused", ""),
        ("run.resumed", ""),
        ("step.started", "good"),
        ("step.succeeded", "good"),
        ("step.started", "bad"),
        ("step.failed", "bad"),
        ("step.skipped", "next"),
    ]
    assert [one for one in log if one in turns] == turns
    events = Event.objects.filter(stream_id=run.stream)
    for change in (lambda: events.update(kind="step.succeeded"), events.delete):
        with pytest.raises(IntegrityError, match="insert-only"):
            change()


@pytest.mark.promise("S1.32")
def test_a_run_that_succeeded_keeps_its_record_and_files_and_no_working_state(
    proposer, operator, worker
):
    text = plan(
        step("make", "write", params={"text": "hello"}),
        step("careless", "secret", after="make"),
        step("use", "read", after="careless", params={"file": "$make.files.note"}),
    )
    run = driven(approved(text, proposer, operator), worker)
    steps = list(run.steps.all())

    left = {path.name for path in worker.home.rglob("*")}
    held = [one for one in worker.home.rglob("*") if one.is_file() and mentions(one)]

    assert run.state == "succeeded"
    assert not any(str(one.id) in name for one in steps for name in left)
    assert held == []
    assert {one.lease_until for one in steps} == {None}
    assert set(Attempt.objects.values_list("phase", flat=True)) == {"done"}
    assert committed.tables_with(SECRET) == []
    note = run.steps.get(key="make").files["note"]["$file"]
    assert stored(note["sha256"]) == b"hello"
    assert record.verify_chain(run.stream).whole


def stored(sha256: str) -> bytes:
    with open_artifact(sha256) as file:
        return file.read()


def mentions(path) -> bool:
    return SECRET.encode() in path.read_bytes()


@pytest.mark.promise("S0.25")
def test_a_generated_page_is_archived_and_someone_is_notified(
    proposer, operator, worker
):
    sent: list[bytes] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        sent.append(body)
        reply(request, 200)

    targets.configured("notify", {"allow_private": True})
    with http_server(answer) as url:
        params = {"title": "Sales", "rows": [{"month": "May", "sum": 12}]}
        page = {"files": ["$report.files.document"], "name": "sales.zip"}
        news = {"url": url, "type": "report", "data": "$report.output.sha256"}
        text = plan(
            step("report", "render", skill="report", params=params),
            step("keep", "archive", skill="files", after="report", params=page),
            step("tell", "webhook", skill="notify", after="keep", params=news),
        )
        run = driven(approved(text, proposer, operator), worker)
        decided(open_gate(run, "tell"), operator)
        run = driven(run, worker)

    packed = run.steps.get(key="keep").files["archive"]["$file"]["sha256"]
    made = run.steps.get(key="report").files["document"]["$file"]["sha256"]
    with zipfile.ZipFile(io.BytesIO(stored(packed))) as archive:
        [content] = [archive.read(name) for name in archive.namelist()]
    assert run.state == "succeeded"
    assert content == stored(made)
    assert b"Sales" in content
    assert [json.loads(body)["data"] for body in sent] == [made]


@pytest.mark.promise("S3.9")
def test_a_skill_of_a_module_the_product_does_not_know_is_run_like_any_other(
    proposer, operator, worker
):
    assert os.environ[installed.EXTRA] == "tests.handlers"
    assert "lab" not in installed.MODULES
    assert handlers.find("lab.echo@1").module == "tests.handlers"

    run = driven(
        approved(plan(step("new", params={"a": 1})), proposer, operator), worker
    )

    assert run.state == "succeeded"
    assert outputs(run) == {"new": {"a": 1}}


@pytest.mark.promise("S3.42")
def test_each_step_has_a_deadline_and_retries_of_its_own(proposer, operator, worker):
    text = plan(
        step("usual"),
        step(
            "slow",
            "misbehave-again",
            after="usual",
            params={"how": "hang"},
            timeout="1s",
            retry={"attempts": 2, "initial": "1s"},
        ),
    )
    run = driven(approved(text, proposer, operator), worker)
    first = run.steps.get(key="slow")
    sweep.sweep(at=clock.now() + LATER)
    run = driven(run, worker)

    assert (first.state, first.error["code"]) == ("backoff", "step.timed_out")
    slow = run.steps.get(key="slow")
    assert (slow.state, slow.error["code"]) == ("failed", "step.timed_out")
    assert "1 s" in slow.error["message"]
    assert {key: run.steps.get(key=key).attempts.count() for key in states(run)} == {
        "usual": 1,
        "slow": 2,
    }


@pytest.mark.promise("S3.48")
def test_up_to_three_retries_each_wait_twice_as_long(
    proposer, operator, worker, witness
):
    text = plan(
        step(
            "flaky",
            "flaky",
            params={"until": 99},
            retry={"attempts": 4, "initial": "1s"},
        )
    )
    run = approved(text, proposer, operator)
    waits = []
    while (flaky := driven(run, worker).steps.get()).state == "backoff":
        ended = flaky.attempts.latest("fence").ended_at
        waits.append((flaky.not_before - ended).total_seconds())
        sweep.sweep(at=flaky.not_before)

    assert waits == [1, 2, 4]
    assert flaky.state == "failed"
    assert flaky.attempts.count() == 4
