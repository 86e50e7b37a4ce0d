"""A secret reaches no stored file: it is masked in text, and other files are refused."""

import pytest

from audit.models import Event
from orchestration.runs.engine import artifacts
from orchestration.runs.models import Artifact, LogChunk
from tests.builders import approved, driven, plan, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

SECRET = b"laboratory-secret-token"
MIB = 1 << 20


def leaked(proposer, operator, worker, **params):
    text = plan(step("leak", "leak", params=params))
    run = driven(approved(text, proposer, operator), worker)
    return run.steps.get()


def stored(leak):
    reference = leak.files["note"]["$file"]
    with artifacts.open_artifact(reference["sha256"]) as file:
        return reference, file.read()


@pytest.mark.parametrize(
    ("before", "times"),
    [
        pytest.param("", 1, id="small"),
        pytest.param("x", MIB - 5, id="across two chunks"),
        pytest.param("x", MIB - 1, id="at the end of a chunk"),
        pytest.param("é", MIB, id="after several chunks"),
    ],
)
def test_a_secret_in_a_text_file_is_masked_before_it_is_stored(
    before, times, proposer, operator, worker
):
    hexed = before.encode().hex()
    leak = leaked(proposer, operator, worker, before=hexed, times=times)

    reference, content = stored(leak)

    assert leak.state == "succeeded"
    assert content == before.encode() * times + b"[masked] after"
    assert reference["size"] == len(content)


def test_the_record_and_the_log_say_that_a_file_was_masked(proposer, operator, worker):
    leaked(proposer, operator, worker)

    succeeded = Event.objects.get(kind="step.succeeded")
    payload = bytes(succeeded.body).decode()
    log = "".join(LogChunk.objects.values_list("text", flat=True))

    assert '"masked":["note/note.txt"]' in payload
    assert "note.txt" in log
    assert "masked" in log


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"encoding": "utf-16"}, id="utf-16"),
        pytest.param({"before": "00"}, id="binary"),
        pytest.param({"name": "{token}.txt"}, id="in the file's name"),
    ],
)
def test_a_secret_that_cannot_be_masked_fails_the_step_and_stores_nothing(
    params, proposer, operator, worker
):
    leak = leaked(proposer, operator, worker, **params)

    assert leak.state == "failed"
    assert leak.error["code"] == "skill.secret_in_file"
    assert SECRET.decode() not in str(leak.error)
    assert not Artifact.objects.exists()


def test_a_file_without_a_secret_is_stored_as_it_is(proposer, operator, worker):
    text = plan(step("write", "write", params={"text": "nothing to hide"}))
    run = driven(approved(text, proposer, operator), worker)

    assert stored(run.steps.get())[1] == b"nothing to hide"
