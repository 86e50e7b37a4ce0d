"""Which stored results and files a rerun takes, and which not."""

import errno
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection

from execfabric.lib import clock
from orchestration.runs.control import uploads
from orchestration.runs.control.artifacts import archive
from orchestration.runs.engine import artifacts
from orchestration.runs.models import ArtifactUse, ArtifactVersion
from tests.builders import (
    outputs,
    plan,
    step,
)
from tests.integration.rerun_builders import (
    effects,
    finished,
    marks,
    rerun,
    reused,
    run_again,
    verified,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def past_guards(statement: str, *values) -> None:
    """Change a row past the triggers, as a database administrator could."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, values)
        cursor.execute("SET session_replication_role = DEFAULT")


def test_a_reused_file_is_readable_and_its_version_is_not_made_twice(
    proposer, operator, worker
) -> None:
    text = effects(
        step("last", "misbehave", after="third", params={"how": "$inputs.word"}),
        onFailure="abort",
    )
    run = finished(text, proposer, operator, worker, word="fail")
    version = ArtifactVersion.objects.get(artifact__name="first/note")
    assert (run.state, version.state) == ("failed", "draft")

    again = run_again(run, proposer, operator, worker, "last", changes={"word": "ok"})

    assert again.state == "succeeded", again.reason
    version.refresh_from_db()
    assert (version.state, version.number) == ("current", 1)
    assert ArtifactVersion.objects.filter(artifact__name="first/note").count() == 1
    use = ArtifactUse.objects.get(step_run=again.steps.get(key="first"))
    assert use.artifact_id == version.file_id
    verified(again)
    verified(run)


@pytest.mark.parametrize(
    "tamper",
    [
        """UPDATE runs_steprun SET output = '{"mark": "forged"}' WHERE id = %s""",
        "UPDATE runs_steprun SET files = '{}' WHERE id = %s",
        "UPDATE runs_steprun SET used_fallback = true WHERE id = %s",
        "UPDATE runs_steprun SET reuse_digest = repeat('0', 64) WHERE id = %s",
    ],
)
def test_a_changed_result_is_not_reused(
    proposer, operator, worker, witness, tamper
) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    past_guards(tamper, run.steps.get(key="first").pk)

    again = run_again(run, proposer, operator, worker, "third")

    assert again.state == "succeeded"
    assert reused(again)["first"] is False
    assert outputs(again)["first"] == {"mark": "first"}


@pytest.mark.parametrize("damage", ["delete", "truncate", "overwrite", "unreadable"])
def test_a_step_whose_file_is_damaged_runs_again(
    proposer, operator, worker, monkeypatch, damage
) -> None:
    # All tests share a store, so the file has a content of its own.
    params = {"text": f"{damage} {uuid4()}"}
    text = plan(step("first", "write", params=params), step("last", after="first"))
    run = finished(text, proposer, operator, worker)
    file = run.steps.get(key="first").files["note"]["$file"]
    path = artifacts.storage_path(file["sha256"])
    if damage == "unreadable":
        with_unreadable(monkeypatch, path)
    else:
        default_storage.delete(path)
    if damage in {"truncate", "overwrite"}:
        size = 1 if damage == "truncate" else file["size"]
        default_storage.save(path, ContentFile(b"a" * size))

    again = run_again(run, proposer, operator, worker, "last")

    assert reused(again) == {"first": False, "last": False}


def with_unreadable(monkeypatch, path: str) -> None:
    """Let the size of a stored file be unreadable."""
    size = default_storage.size

    def broken(asked: str) -> int:
        if asked == path:
            raise OSError(errno.EIO, "Input/output error")
        return size(asked)

    monkeypatch.setattr(default_storage, "size", broken)


def test_an_effect_is_not_repeated_because_its_file_cannot_be_read(
    proposer, operator, worker, witness, monkeypatch
) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    file = run.steps.get(key="first").files["note"]["$file"]
    with monkeypatch.context() as patched:
        with_unreadable(patched, artifacts.storage_path(file["sha256"]))

        again = run_again(run, proposer, operator, worker, "third")

    first = again.steps.get(key="first")
    assert (first.state, first.error["code"]) == ("failed", "artifact.unreadable")
    assert marks(witness) == ["first", "third"]


def test_a_file_keeps_its_name_if_another_input_has_the_same_content(
    proposer, operator, worker, witness
) -> None:
    files = {"properties": {key: {"type": "string", "format": "file"} for key in "ab"}}
    text = plan(
        step("first", "witness", params={"mark": "x", "note": "$inputs.a"}),
        step("last", after="first"),
        inputs=files,
    )
    ids = {
        key: str(
            uploads.store(
                chunks=[b"the same"],
                name=f"{key}.csv",
                by=proposer.actor(),
                at=clock.now(),
            ).pk
        )
        for key in "ab"
    }
    run = finished(text, proposer, operator, worker, **ids)

    again = run_again(run, proposer, operator, worker, "last")
    swapped = rerun(run, proposer, "last", changes={"a": ids["b"]})

    assert again.inputs == run.inputs
    assert marks(witness) == ["x"]
    assert reused(again)["first"] is True
    assert swapped.inputs["a"]["$file"]["name"] == "b.csv"


def test_a_result_with_an_archived_version_is_not_reused(
    proposer, operator, worker
) -> None:
    text = plan(
        step("first", "write", params={"text": "wrong"}), step("last", after="first")
    )
    run = finished(text, proposer, operator, worker)
    version = ArtifactVersion.objects.get(step_run=run.steps.get(key="first"))
    archive(
        artifact_id=version.artifact_id,
        reason="Wrong data.",
        by=operator.actor(),
        at=clock.now(),
    )

    again = run_again(run, proposer, operator, worker, "last")

    assert reused(again)["first"] is False
    newest = ArtifactVersion.objects.get(step_run=again.steps.get(key="first"))
    assert (newest.artifact_id, newest.state) == (version.artifact_id, "current")
