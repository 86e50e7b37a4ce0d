"""Reruns on pages and in the API: the form, the links, the comparison."""

import pytest

from orchestration.runs.models import Run
from tests.api_builders import Caller, token_of
from tests.builders import approved, chain, step
from tests.console_builders import rows, signed_in, words
from tests.integration.rerun_builders import effects, finished, run_again
from tests.web.run_builders import step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "witness"),
]


def test_the_form_suggests_the_failed_step_and_has_the_inputs(
    proposer, operator, worker
) -> None:
    text = effects(
        step("last", "misbehave", after="third", params={"how": "$inputs.word"}),
        onFailure="abort",
    )
    run = finished(text, proposer, operator, worker, word="fail")
    client = signed_in(proposer)

    assert rows(client.get(f"/runs/{run.pk}"), "rerun") == 1
    form = client.get(f"/runs/{run.pk}/rerun")
    html = form.content.decode()
    assert '<option value="last" selected>' in html
    assert 'value="fail"' in html

    answer = client.post(
        f"/runs/{run.pk}/rerun",
        {"first": "last", "kind.word": "string", "input.word": "ok"},
    )

    again = Run.objects.latest("pk")
    assert answer.url == f"/runs/{again.pk}"
    assert (again.rerun_of_id, again.rerun_from) == (run.pk, "last")
    assert again.inputs == {"word": "ok"}
    assert "from last" in words(client.get(answer.url))
    assert str(again.pk)[:8] in words(client.get(f"/runs/{run.pk}"))
    assert "Rerun" in words(client.get("/runs"))


def test_a_wrong_input_is_shown_at_its_field(proposer, operator, worker) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    client = signed_in(proposer)

    answer = client.post(
        f"/runs/{run.pk}/rerun",
        {"first": "", "inputs": '{"word": 5}'},
    )

    assert answer.status_code == 422
    assert Run.objects.count() == 1


def test_a_run_that_has_not_ended_is_not_offered(
    proposer, operator, auditor, worker
) -> None:
    run = approved(chain(1), proposer, operator)
    client = signed_in(proposer)

    assert rows(client.get(f"/runs/{run.pk}"), "rerun") == 0
    refused = client.post(f"/runs/{run.pk}/rerun", {"first": ""})

    assert refused.status_code == 409
    assert "has not ended" in words(refused)
    ended = finished(effects(), proposer, operator, worker, word="old")
    assert rows(signed_in(auditor).get(f"/runs/{ended.pk}"), "rerun") == 0
    assert signed_in(auditor).get(f"/runs/{ended.pk}/rerun").status_code == 403


def test_the_pages_say_what_was_reused(proposer, operator, worker, stranger) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    again = run_again(run, proposer, operator, worker, "third", changes={"word": "new"})
    client = signed_in(proposer)

    page = client.get(f"/runs/{again.pk}")
    assert rows(page, "reused") == 1
    first = step_of(again, "first", client)
    assert rows(first, "step-reused-first") == 1
    assert f"/runs/{run.pk}/steps/first" in first.content.decode()
    compared = client.get(f"/runs/{run.pk}/compare/{again.pk}")
    assert rows(compared, "input-differences") == 1
    assert rows(compared, "step-difference") == 1
    assert rows(compared, "same-step") == 2
    assert rows(compared, "reused") == 1
    same = client.get(f"/runs/{run.pk}/compare/{run.pk}")
    assert rows(same, "no-difference") == 1
    hidden = signed_in(stranger).get(f"/runs/{run.pk}/compare/{again.pk}")
    assert hidden.status_code == 404


def test_the_api_runs_again_and_compares(proposer, operator, worker, second) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    caller, other = Caller(token_of(proposer)), Caller(token_of(second))

    body = {"from": "third", "changes": {"word": "new"}}
    made = caller.post(f"runs/{run.pk}:rerun", body)

    assert made.status_code == 201
    again = caller.get(f"runs/{made.json()['run_id']}").json()
    assert (again["rerun_of"], again["rerun_from"]) == (str(run.pk), "third")
    assert again["inputs"] == {"word": "new"}
    missing = caller.post(f"runs/{run.pk}:rerun", {"from": "fourth"})
    assert (missing.status_code, missing.json()["code"]) == (404, "step.unknown")
    early = caller.post(f"runs/{again['id']}:rerun", {})
    assert (early.status_code, early.json()["code"]) == (409, "run.not_ended")
    assert other.post(f"runs/{run.pk}:rerun", {}).status_code == 404
    compared = caller.get(f"runs/{run.pk}/compare/{again['id']}").json()
    assert compared["inputs"] == [{"field": "word", "before": "old", "after": "new"}]
    assert {step["after"]["state"] for step in compared["steps"]} == {"pending"}
