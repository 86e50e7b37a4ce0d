"""The API of rollbacks."""

from http import HTTPStatus

import pytest

from tests.builders import approved, driven, plan
from tests.integration.rollback_builders import (
    FAILS,
    done,
    failing,
    rolled_back,
    undoable,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def run(proposer, operator, worker):
    text = undoable(2, failing("bad", after="s1"))
    return driven(approved(text, proposer, operator), worker)


@pytest.mark.promise("S1.29")
def test_a_run_is_previewed_confirmed_and_reported(api, run, worker):
    shown = api.get(f"runs/{run.pk}/rollback").json()

    assert [undo["step"] for undo in shown["undo"]] == ["s1", "s0"]
    assert shown["undo"][0]["params"] == {"mark": "undo-s1"}
    assert shown["not_undone"][0]["step"] == "bad"

    body = {"reason": "Broken.", "digest": shown["digest"]}
    begun = api.post(f"runs/{run.pk}:rollback", body).json()
    assert begun["state"] == "rolling_back"
    driven(run, worker)

    ended = api.get(f"runs/{run.pk}").json()
    assert ended["state"] == "rolled_back"
    report = ended["rollback"]
    assert report["counts"] == {"undone": 2, "not_undone": 1}
    assert [step["step"] for step in report["steps"]] == ["s0", "s1", "bad"]
    assert report["steps"][0]["undo_state"] == "succeeded"
    assert [step["id"] for step in ended["steps"]] == ["s0", "s1", "bad"]


def test_a_confirmation_needs_the_digest_and_a_reason(api, run):
    digest = api.get(f"runs/{run.pk}/rollback").json()["digest"]
    path = f"runs/{run.pk}:rollback"

    other = api.post(path, {"reason": "Broken.", "digest": "0" * 64})
    empty = api.post(path, {"reason": " ", "digest": digest})

    assert other.status_code == HTTPStatus.CONFLICT
    assert other.json()["code"] == "rollback.preview_changed"
    assert empty.json()["code"] == "rollback.reason_required"


def test_a_failed_undo_is_skipped(api, proposer, operator, worker):
    text = plan(done("s0"), done("s1", after="s0", rollback=FAILS))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    steps = api.get(f"runs/{run.pk}").json()["rollback"]["steps"]
    undo = next(each["undo_step_run_id"] for each in steps if each["step"] == "s1")

    found = api.get(f"steps/{undo}/actions").json()
    skipped = api.post(f"steps/{undo}:skip", {"reason": "Gone."}).json()

    possible = [row["action"] for row in found["actions"] if row["possible"]]
    assert possible[:2] == ["retry", "skip"]
    assert found["skip"] is None
    assert skipped["state"] == "rolling_back"
    assert driven(run, worker).state == "rollback_failed"


def test_a_run_is_rolled_back_to_a_step(api, run):
    shown = api.get(f"runs/{run.pk}/rollback?to=s0").json()

    assert [undo["step"] for undo in shown["undo"]] == ["s1"]
    wrong = api.get(f"runs/{run.pk}/rollback?to=nowhere").json()
    assert wrong["code"] == "rollback.target_invalid"


def test_the_last_failed_run_of_a_plan_is_found(api, run, proposer, operator, worker):
    driven(approved(plan(done("s0")), proposer, operator), worker)

    found = api.get("plans/lab-plan/last-failed-run").json()

    assert found["id"] == str(run.pk)
    missing = api.get("plans/other/last-failed-run")
    assert missing.status_code == HTTPStatus.NOT_FOUND
