"""Failed attempts as records: error, elapsed time, inputs by reference, trace."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.runs.models import Attempt
from tests.api_builders import Caller, token_of
from tests.builders import approved, driven, plan, step
from tests.console_builders import rows, signed_in, words
from tests.integration.cli_builders import Shell
from tests.web.run_builders import FAILING, TWO_STEPS

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

UNKNOWN = plan(step("send", "once", params={"how": "unknown"}))


@pytest.fixture
def runs(proposer, operator, worker):
    texts = (TWO_STEPS, FAILING, UNKNOWN)
    return [driven(approved(text, proposer, operator), worker) for text in texts]


def test_page_and_api_have_each_failed_attempt_and_no_other(runs, operator, stranger):
    _, failed, unknown = runs
    row = failed.steps.get()
    attempt = row.attempts.get()
    ended = attempt.started_at + timedelta(milliseconds=1234)
    Attempt.objects.filter(pk=attempt.pk).update(ended_at=ended)

    page = signed_in(operator).get("/attention/failures")
    newest, oldest = Caller(token_of(operator)).get("failures").json()["items"]

    assert rows(page, "failure-record") == 2
    assert "The target said no." in words(page)
    assert f'href="/runs/{failed.pk}/steps/only"' in page.content.decode()
    assert (newest["name"], newest["run_id"]) == ("Escalated", str(unknown.pk))
    assert (oldest["name"], oldest["elapsed_ms"]) == ("Failed", 1234)
    assert oldest["error"]["code"] == "lab.refused"
    assert oldest["digest"] == row.spec_id
    assert oldest["trace_id"] == failed.trace_id
    assert rows(signed_in(stranger).get("/attention/failures"), "failure-record") == 0


def test_records_are_listed_by_page(runs, operator):
    api = Caller(token_of(operator))
    first = api.get("failures", limit=1).json()
    second = api.get("failures", limit=1, after=first["next"]).json()

    assert first["items"][0]["id"] > second["items"][0]["id"]
    assert second["next"] is None
    assert api.get("failures", after="x").status_code == 422


def test_records_need_the_same_queries_for_any_number(
    runs, operator, django_assert_max_num_queries
):
    client = signed_in(operator)
    with django_assert_max_num_queries(10):
        client.get("/attention/failures")


def test_the_command_lists_records(runs, operator, live_server: Any, tmp_path: Path):
    shell = Shell(live_server.url, tmp_path, {"operator": token_of(operator)})

    listed = shell.json("operator", "attention", "failures")

    assert [item["name"] for item in listed] == ["Escalated", "Failed"]
