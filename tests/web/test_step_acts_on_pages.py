"""What the pages and the API offer for a failed step, and what becomes of a form."""

import pytest
from django.test import Client

from orchestration.runs.domain.results import Failure, Finished
from tests.api_builders import Caller, token_of
from tests.builders import approved, claimed, completed, driven, plan, states, step
from tests.console_builders import codes, signed_in, words
from tests.web.run_builders import page_of, step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

NO = Failure("lab.refused", "The target said no.", ran=True)
CHAIN = plan(
    step("first", params={"value": "a"}),
    step("bad", after="first", params={"value": "<b>bold</b>"}),
    step("last", after="bad"),
    step("later", after="last"),
    step(
        "always",
        after="bad",
        triggerRule="all_done",
        params={"value": "$bad.output.value?"},
    ),
)


@pytest.fixture
def run(proposer, operator):
    made = approved(CHAIN, proposer, operator)
    lease = completed(claimed(made, "first"), Finished({"value": "a"}, {}))
    completed(lease, NO)
    made.refresh_from_db()
    return made


def address(run, verb, key="bad"):
    return f"/runs/{run.pk}/steps/{key}/{verb}"


def test_a_failed_step_offers_what_is_possible_and_says_why_not(run, operator):
    shown = words(step_of(run, "bad", signed_in(operator)))

    assert "What you can do" in shown
    for label in ("Retry step…", "Skip step…", "Complete by hand…"):
        assert label in shown
    assert "Run fallback: The plan declares no fallback for this step." in shown
    assert "What you can do" not in words(step_of(run, "first", signed_in(operator)))


def test_a_reader_without_the_right_is_told_so(run, auditor, proposer):
    theirs = words(step_of(run, "bad", signed_in(auditor)))
    own = words(step_of(run, "bad", signed_in(proposer)))

    assert "Nothing can be done about this step now." in theirs
    assert "Only operators, admins and the proposer can do this." in theirs
    assert "Retry step…" in own
    assert "Complete by hand: " in own


def test_a_skip_lists_its_consequences_before_it_is_confirmed(run, operator, worker):
    client = signed_in(operator)

    shown = words(client.get(address(run, "skip")))
    posted = client.post(address(run, "skip"), {"reason": "Not needed."})

    assert "Still run always" in shown
    assert "Skipped too last , later" in shown.replace("last,", "last ,")
    assert "Run without its value always" in shown
    assert posted["Location"] == f"/runs/{run.pk}"
    assert "Step skipped. The run is running." in words(client.get(posted["Location"]))
    assert driven(run, worker).state == "partially_succeeded"


def test_a_completion_by_hand_is_checked_and_keeps_what_was_typed(run, operator):
    client = signed_in(operator)
    typed = {"reason": "Done by hand.", "evidence": "", "output": '{"value": 1'}

    wrong = client.post(address(run, "complete"), typed)
    done = client.post(
        address(run, "complete"),
        typed | {"evidence": "Ticket 7.", "output": '{"value": "by hand"}'},
    )

    assert wrong.status_code == 422
    assert "Enter how others can check it." in words(wrong)
    assert "Done by hand." in wrong.content.decode()
    assert done.status_code == 302
    assert run.steps.get(key="bad").output == {"value": "by hand"}


def test_a_form_of_a_second_tab_is_refused_and_keeps_what_was_typed(run, operator):
    first, second = signed_in(operator), signed_in(operator)
    first.post(address(run, "retry"), {"reason": "Again.", "generation": "1"})
    completed(claimed(run, "bad"), NO)

    stale = second.post(
        address(run, "skip"), {"reason": "A long explanation.", "generation": "1"}
    )

    assert stale.status_code == 409
    assert codes(stale) == ["step.tried_since"]
    assert "A long explanation." in stale.content.decode()
    assert states(run)["bad"] == "failed"


def test_a_form_for_what_is_no_longer_possible_keeps_what_was_typed(run, operator):
    client = signed_in(operator)
    client.post(address(run, "skip"), {"reason": "Not needed."})

    late = client.post(address(run, "retry"), {"reason": "A long explanation."})
    opened = words(client.get(address(run, "retry")))

    assert late.status_code == 409
    assert codes(late) == ["step.act_refused"]
    assert "A long explanation." in late.content.decode()
    assert "The step has not failed: it is skipped." in opened


def test_a_session_that_ended_leads_back_to_the_form(run):
    refused = Client().post(address(run, "skip"), {"reason": "Not needed."})

    assert refused.status_code == 302
    assert refused["Location"].startswith("/accounts/login/")
    assert "/steps/bad/skip" in refused["Location"]
    assert states(run)["bad"] == "failed"


def test_an_invisible_run_has_no_forms(run, stranger):
    assert signed_in(stranger).get(address(run, "skip")).status_code == 404
    assert signed_in(stranger).post(address(run, "skip"), {}).status_code == 404


def test_text_of_a_plan_is_never_markup(run, operator):
    page = signed_in(operator).get(address(run, "complete"))

    assert "<b>bold" not in page.content.decode()


def test_a_run_is_aborted_with_a_reason(run, operator):
    client = signed_in(operator)

    without = client.post(f"/runs/{run.pk}/abort", {"reason": " "})
    client.post(f"/runs/{run.pk}/abort", {"reason": "Wrong plan."})

    run.refresh_from_db()
    assert codes(without) == ["request.reason_required"]
    assert run.state == "failed"
    assert "Aborted by operator: Wrong plan." in words(page_of(run, client))
    assert "What you can do" not in words(step_of(run, "bad", client))


def test_the_api_offers_foresees_and_does(run, operator, worker):
    api = Caller(token_of(operator))
    pk = run.steps.get(key="bad").pk

    offered = api.get(f"steps/{pk}/actions").json()
    none = api.post(f"steps/{pk}:fallback", {"reason": "Instead."})
    empty = api.post(f"steps/{pk}:skip", {"reason": ""})
    skipped = api.post(f"steps/{pk}:skip", {"reason": "No.", "generation": 1})

    possible = {row["action"]: row["possible"] for row in offered["actions"]}
    assert possible == {
        "retry": True,
        "edit": True,
        "skip": True,
        "complete": True,
        "fallback": False,
    }
    assert offered["generation"] == 1
    assert offered["skip"] == {
        "runs": ["always"],
        "skipped": ["last", "later"],
        "without": ["always"],
        "fails": [],
    }
    assert (none.status_code, none.json()["code"]) == (409, "step.act_refused")
    assert empty.json()["code"] == "request.reason_required"
    assert skipped.json()["state"] == "running"
    assert api.get(f"steps/{pk}/actions").json()["skip"] is None
    assert driven(run, worker).state == "partially_succeeded"


def test_the_api_completes_by_hand_and_aborts(run, operator, worker):
    api = Caller(token_of(operator))
    pk = run.steps.get(key="bad").pk
    body = {"reason": "Done by hand.", "evidence": "Ticket 7."}

    listed = api.post(f"steps/{pk}:complete", body | {"output": [1]})
    done = api.post(f"steps/{pk}:complete", body | {"output": {"value": 1}})
    aborted = api.post(f"runs/{run.pk}:abort", {"reason": "Enough."})

    assert listed.status_code == 422
    assert done.status_code == 200
    assert (aborted.json()["state"], aborted.json()["reason"]) == (
        "failed",
        "Aborted by operator: Enough.",
    )


def test_a_step_is_edited_on_its_page(run, operator, second_operator):
    client = signed_in(operator)
    shown = client.get(address(run, "edit")).content.decode()
    assert "&quot;value&quot;: &quot;&lt;b&gt;bold&lt;/b&gt;&quot;" in shown
    form = {"params": "value: plain # as typed", "reason": "It is no HTML."}

    answer = client.post(address(run, "edit"), {**form, "generation": 1})

    assert answer.status_code == 302
    run.refresh_from_db()
    assert run.state == "awaiting_approval"
    page = words(page_of(run, signed_in(second_operator)))
    assert "Step “bad” was edited. Nothing runs until the edit is approved." in page
    assert "It is no HTML." in page
    assert "Revision 1, edited" in page
    gate = signed_in(second_operator).get(f"/gates/{run.gate_id}").content.decode()
    assert "Changed parameters of step" in gate
    assert "The step is retried with these parameters, and the run continues." in gate
    assert 'data-field="value"' in gate


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("value: [1", "Line 1:"),
        ("- a list", "Write the parameters as names with values"),
        ("value: $nothing.output", "plan.invalid"),
        ('{"value": "<b>bold</b>"}', "it has these parameters already"),
    ],
)
def test_an_edit_that_is_refused_keeps_what_was_typed(
    params, said, run, operator, second_operator
):
    form = {"params": params, "reason": "A long explanation."}

    answer = signed_in(operator).post(address(run, "edit"), form).content.decode()

    assert said in answer
    assert "A long explanation." in answer
    run.refresh_from_db()
    assert run.state == "paused"


def test_the_api_edits_a_step_and_shows_it(run, operator, second_operator):
    caller = Caller(token_of(operator))
    key = run.steps.get(key="bad").pk
    body = {"reason": "It is no HTML.", "params": {"value": "plain"}}

    answer = caller.post(f"steps/{key}:retry", body)
    again = caller.post(f"steps/{key}:retry", body)

    assert answer.status_code == 200
    found = answer.json()
    assert (found["state"], found["revision"]) == ("awaiting_approval", 1)
    [edit] = found["edits"]
    assert edit["changes"] == [
        {"param": "value", "before": "<b>bold</b>", "after": "plain"}
    ]
    assert (edit["step"], edit["by"], edit["is_pending"]) == ("bad", "operator", True)
    assert (again.status_code, again.json()["code"]) == (409, "step.act_refused")
