"""Files as inputs: uploaded, approved as they are, read by the worker, removed if unused."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client, override_settings

from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.runs.control import uploads
from orchestration.runs.engine import incoming
from orchestration.runs.errors import ArtifactNotStored
from orchestration.runs.models import Artifact, InputFile, Run, Upload
from orchestration.trace.services import streams
from tests.api_builders import Caller, agent, caller, person, token_of
from tests.builders import (
    approved,
    decided,
    driven,
    end_dry_runs,
    open_gate,
    plan,
    states,
    step,
)
from tests.console_builders import signed_in
from tests.web.upload_builders import (
    BYTES,
    CONTENT,
    PLAN,
    SCHEMA,
    SHA256,
    drafts,
    stored,
)

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("registry", "operator", "clean_store"),
]


def send(by: Caller, content: bytes = CONTENT, name: str = "amounts.csv", **how: str):
    return Client().post(
        f"/api/v1/files?name={name}",
        content,
        content_type=how.get("content_type", BYTES),
        headers=by.headers,
    )


def propose(by: Caller, file_id: str, **headers: str) -> Any:
    body = {"plan": PLAN, "inputs": {"doc": file_id}}
    return by.post("runs", body, **headers)


def a_run(by: Caller, file_id: str) -> Run:
    made = propose(by, file_id)
    assert made.status_code == 201, made.content
    end_dry_runs()
    return Run.objects.get(pk=made.json()["run_id"])


def problem_codes(answer: Any) -> list[str]:
    return [problem["code"] for problem in answer.json()["problems"]]


def test_the_worker_reads_exactly_the_file_that_was_approved(
    api, operator, worker
) -> None:
    sent = send(api).json()
    run = a_run(api, sent["id"])
    gate = open_gate(run)
    shown = signed_in(operator).get(f"/gates/{gate.pk}").content.decode()
    bytes_read = b"".join(
        signed_in(operator).get(f"/artifacts/{SHA256}/download").streaming_content
    )
    decided(gate, operator)
    done = driven(run, worker)

    reference = {"sha256": SHA256, "name": "amounts.csv", "size": len(CONTENT)}
    assert sent | reference == sent
    assert run.inputs == {"doc": {"$file": reference | {"media_type": "text/csv"}}}
    assert all(text in shown for text in ("amounts.csv", "text/csv", SHA256))
    assert bytes_read == CONTENT
    assert done.state == "succeeded"
    output = done.steps.get(key="take").output
    assert output == {"text": CONTENT.decode(), "sha256": SHA256}
    result = streams.verify_stream(run.stream)
    assert (result.differences, result.unread) == ([], 0)


def test_other_bytes_than_those_approved_are_never_read(api, operator, worker) -> None:
    run = a_run(api, send(api).json()["id"])
    decided(open_gate(run), operator)
    stored().write_bytes(b"other bytes")

    done = driven(run, worker)

    assert done.steps.get(key="take").error["code"] == "artifact.corrupt"
    [difference] = streams.verify_stream(run.stream).differences
    assert str(difference.table) == "the artifact store"


def test_a_changed_input_voids_the_approval(api, operator, worker) -> None:
    run = a_run(api, send(api).json()["id"])
    other = send(api, b"other", "other.csv").json()
    decided(open_gate(run), operator)
    changed = {
        "doc": {"$file": run.inputs["doc"]["$file"] | {"sha256": other["sha256"]}}
    }
    Run.objects.filter(pk=run.pk).update(inputs=changed)

    done = driven(run, worker)

    assert (done.state, states(run)["take"]) == ("awaiting_approval", "pending")


@pytest.mark.parametrize(
    ("content", "name", "limit", "status", "code"),
    [
        pytest.param(b"12345678901", "a.txt", 10, 413, "upload.too_large", id="large"),
        pytest.param(b"", "a.txt", 10, 422, "upload.empty", id="empty"),
        pytest.param(b"x", "..%2Fa.txt", 10, 422, "upload.name_invalid", id="folder"),
        pytest.param(b"x", "..", 10, 422, "upload.name_invalid", id="parent"),
        pytest.param(b"x", "a%0Ab", 10, 422, "upload.name_invalid", id="line break"),
        pytest.param(b"x", "a" * 201, 10, 422, "upload.name_invalid", id="long name"),
        pytest.param(b"x", "", 10, 422, "request.invalid", id="no name"),
    ],
)
def test_a_bad_upload_is_refused_and_leaves_nothing(
    content, name, limit, status, code, api
) -> None:
    with override_settings(MAX_UPLOAD_BYTES=limit):
        answer = send(api, content, name)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Upload.objects.exists()
    assert not Artifact.objects.exists()
    assert drafts() == []


def test_a_form_is_refused_as_an_upload(api) -> None:
    form = 'multipart/form-data; boundary="x"'

    answer = send(api, b"--x--", content_type=form)

    assert (answer.status_code, answer.json()["code"]) == (400, "upload.malformed")


def test_who_may_not_propose_may_not_upload() -> None:
    answer = send(caller("auditing", Role.AUDITOR))

    assert (answer.status_code, answer.json()["code"]) == (403, "auth.right_missing")


def test_the_same_upload_twice_is_one_file(api) -> None:
    first, second = send(api).json(), send(api).json()
    renamed = send(api, name="copy.csv").json()

    assert first["id"] == second["id"] != renamed["id"]
    assert Artifact.objects.count() == 1


@pytest.mark.parametrize("key", ["id", "sha256"])
def test_a_file_of_someone_else_is_unknown(key, api) -> None:
    stranger = caller("stranger", Role.PROPOSER)
    file_id = send(api).json()[key]

    answer = propose(stranger, file_id)

    assert (answer.status_code, problem_codes(answer)) == (422, ["plan.file_unknown"])
    assert stranger.get(f"artifacts/{SHA256}").status_code == 404
    assert propose(api, file_id).status_code == 201


def test_the_name_that_others_gave_to_the_same_bytes_is_not_shown(api) -> None:
    other = caller("other", Role.PROPOSER)
    send(api, name="secret-merger.csv")
    send(other, name="mine.csv")

    answer = other.get(f"artifacts/{SHA256}")
    answer.close()

    assert answer.headers["Content-Disposition"] == 'attachment; filename="mine.csv"'


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        pytest.param({"doc": "nonsense"}, "plan.file_unknown", id="no such file"),
        pytest.param({"doc": ""}, "plan.file_unknown", id="empty text"),
        pytest.param({"doc": "0" * 64}, "plan.file_unknown", id="unknown digest"),
        pytest.param({"doc": 7}, "plan.input_invalid", id="a number"),
        pytest.param({}, "plan.input_invalid", id="missing"),
        pytest.param(
            {"doc": {"$file": {"sha256": SHA256, "name": "a", "size": 1}}},
            "plan.input_invalid",
            id="a forged reference",
        ),
        pytest.param(
            {"doc": "x", "other": {"$file": {"sha256": SHA256}}},
            "plan.input_invalid",
            id="a forged reference elsewhere",
        ),
    ],
)
def test_inputs_that_are_not_files_are_problems(inputs, code, api) -> None:
    send(api)

    answer = api.post("runs", {"plan": PLAN, "inputs": inputs})

    assert answer.status_code == 422
    assert set(problem_codes(answer)) == {code}
    assert not Run.objects.exists()


def test_a_repeated_proposal_returns_the_same_run(api) -> None:
    file_id = send(api).json()["id"]
    key = {"Idempotency-Key": "once"}

    first, second = propose(api, file_id, **key), propose(api, file_id, **key)
    other = propose(api, send(api, b"other").json()["id"], **key)

    assert first.json()["run_id"] == second.json()["run_id"]
    assert other.json()["code"] == "request.key_reused"


def test_the_dry_run_gets_the_file(api) -> None:
    params = {"how": "read", "file": "$inputs.doc"}
    text = plan(step("look", "look", params=params), inputs=SCHEMA)
    file_id = send(api, b"a few words").json()["id"]
    queued = api.post("plans:dry-run", {"plan": text, "inputs": {"doc": file_id}})
    end_dry_runs()

    report = api.get(f"dry-runs/{queued.json()['id']}").json()

    assert queued.status_code == 202, queued.content
    [looked] = report["steps"]
    assert (looked["verdict"], looked["summary"]) == ("covered", "It reads a few words")


def test_an_unused_upload_is_removed_and_a_used_one_never(api) -> None:
    used, unused = send(api).json(), send(api, b"unused", "unused.txt").json()
    run = a_run(api, used["id"])
    soon = clock.now() + timedelta(hours=23)
    late = clock.now() + timedelta(hours=25)

    counts = [uploads.sweep(soon), uploads.sweep(late), uploads.sweep(late)]

    assert counts == [0, 2, 0]
    assert stored().read_bytes() == CONTENT
    assert InputFile.objects.get(run=run).artifact_id == SHA256
    assert not stored(unused["sha256"]).exists()
    assert [row.pk for row in Artifact.objects.all()] == [SHA256]
    assert streams.verify_stream(run.stream).differences == []


def test_a_file_that_a_step_returned_too_is_kept(
    api, proposer, operator, worker
) -> None:
    send(api, b"hello", "hello.txt")
    run = approved(
        plan(step("s", "write", params={"text": "hello"})), proposer, operator
    )
    driven(run, worker)

    uploads.sweep(clock.now() + timedelta(hours=25))

    row = Artifact.objects.get()
    assert (row.producer.run_id, row.name) == (run.pk, "note.txt")
    assert stored(row.pk).read_bytes() == b"hello"
    assert streams.verify_stream(run.stream).differences == []


def test_an_upload_is_stored_again_after_its_bytes_were_removed(api) -> None:
    send(api)
    uploads.sweep(clock.now() + timedelta(hours=25))

    assert not stored().exists()
    assert send(api).status_code == 201
    assert stored().read_bytes() == CONTENT


def test_too_many_unused_uploads_are_refused(api) -> None:
    with override_settings(UPLOADS_PER_ACTOR=1):
        answers = [send(api), send(api, b"two"), send(api)]
        a_run(api, answers[0].json()["id"])
        answers.append(send(api, b"two"))

    assert [answer.status_code for answer in answers] == [201, 429, 201, 201]
    assert answers[1].json()["code"] == "upload.too_many"


def test_a_full_store_is_a_named_refusal(api, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(default_storage, "save", full)

    answer = send(api)

    assert answer.json()["code"] == ArtifactNotStored.code
    assert not Upload.objects.exists()


def test_an_almost_full_disk_refuses_uploads(api) -> None:
    with override_settings(MIN_FREE_BYTES=2**60):
        answer = send(api)

    assert (answer.status_code, answer.json()["code"]) == (503, "service.disk_full")


def test_drafts_of_ended_processes_are_removed(api) -> None:
    folder = Path(default_storage.path(incoming.FOLDER))
    folder.mkdir(exist_ok=True)
    (folder / "left.draft").write_bytes(b"half")

    uploads.sweep(clock.now())
    assert len(drafts()) == 1
    uploads.sweep(clock.now() + timedelta(hours=2))
    assert drafts() == []


def test_an_agent_uploads_and_its_owner_may_read() -> None:
    owner = person("owner", Role.PROPOSER)
    machine = agent("machine", owner)

    file = send(machine).json()

    run = a_run(machine, file["id"])
    assert run.proposer_owner == owner.actor().key
    answer = Caller(token_of(owner)).get(f"artifacts/{SHA256}")
    assert b"".join(answer.streaming_content) == CONTENT
