"""Reruns on pages and in the API: the form, the links, the comparison."""

import re

import pytest

from orchestration.runs.models import Run
from tests.api_builders import Caller, token_of
from tests.builders import approved, chain, plan, step
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
    number = {"properties": {"count": {"type": "integer", "maximum": 9}}}
    text = plan(step("first"), inputs=number)
    run = finished(text, proposer, operator, worker, count=1)
    client = signed_in(proposer)

    answer = client.post(
        f"/runs/{run.pk}/rerun",
        {"first": "first", "kind.count": "integer", "input.count": "10"},
    )

    assert answer.status_code == 422
    assert rows(answer, "input-error") == 1
    assert rows(answer, "rerun-problems") == 0
    html = answer.content.decode()
    assert 'value="10"' in html
    assert '<option value="first" selected>' in html
    assert Run.objects.count() == 1


def test_two_clicks_make_one_rerun(proposer, operator, worker) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    client = signed_in(proposer)
    page = client.get(f"/runs/{run.pk}/rerun").content.decode()
    [key] = re.findall('name="key" value="([^"]+)"', page)
    fields = {"first": "third", "key": key, "kind.word": "string", "input.word": "old"}

    first, second = (client.post(f"/runs/{run.pk}/rerun", fields) for _ in range(2))

    assert first.url == second.url
    assert Run.objects.count() == 2
    # The form from the history of the browser, with another input, has a used key.
    other = client.post(f"/runs/{run.pk}/rerun", fields | {"input.word": "new"})
    assert other.status_code == 409
    [new] = re.findall('name="key" value="([^"]+)"', other.content.decode())
    assert new != key
    again = fields | {"input.word": "new", "key": new}
    assert client.post(f"/runs/{run.pk}/rerun", again).status_code == 302
    assert Run.objects.count() == 3


def test_the_form_says_what_is_asked_again(proposer, operator, worker) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")

    page = signed_in(proposer).get(f"/runs/{run.pk}/rerun")

    assert "Approval steps, forms and waits are asked again" in words(page)


def test_a_run_that_has_not_ended_is_not_offered(
    proposer, operator, auditor, worker
) -> None:
    run = approved(chain(1), proposer, operator)
    client = signed_in(proposer)

    assert rows(client.get(f"/runs/{run.pk}"), "rerun") == 0
    assert client.get(f"/runs/{run.pk}/rerun").status_code == 409
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
