"""The form of an input step: as a page, through the API and on the command line."""

from pathlib import Path
from typing import Any

import pytest

from approvals.models import Gate
from tests.api_builders import Caller, token_of
from tests.builders import approved, open_gate, outputs, plan, proposed, states
from tests.console_builders import signed_in, words
from tests.integration.cli_builders import Shell
from tests.web.run_builders import page_of, step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

FORM = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "minimum": 1, "title": "Amount in EUR"},
        "paid": {"type": "boolean"},
        "how": {"type": "string", "enum": ["bank", "card"], "default": "bank"},
    },
    "required": ["amount"],
}
PLAN = plan(
    {
        "id": "ask",
        "kind": "input",
        "form": FORM,
        "ask": {"reason": "How much was it?", "groups": ["operator"]},
    }
)


@pytest.fixture
def run(proposer, operator):
    return approved(PLAN, proposer, operator)


@pytest.fixture
def gate(run) -> Gate:
    return open_gate(run, "ask")


def posted(client, gate, **fields):
    kinds = {"amount": "integer", "paid": "boolean", "how": "string"}
    body = {f"kind.{name}": kind for name, kind in kinds.items()}
    body |= {f"input.{name}": value for name, value in fields.items()}
    return client.post(f"/gates/{gate.pk}/answer", body | {"digest": gate.digest_hex})


def test_a_form_is_listed_shown_and_answered(run, gate, operator):
    client = signed_in(operator)
    inbox = words(client.get("/inbox"))
    shown = words(client.get(f"/gates/{gate.pk}"))
    body = client.get(f"/gates/{gate.pk}").content.decode()
    sent = posted(client, gate, amount="120", paid="true", how="card")
    after = words(client.get(f"/gates/{gate.pk}"))

    assert "asks for values" in inbox
    assert "Amount in EUR required" in shown
    names = ["input.amount", "input.paid", "input.how"]
    assert sorted(names, key=body.index) == names
    assert "How much was it?" in shown
    assert "Approve" not in shown.split("Your answer")[1].split("Reject")[0]
    assert sent.status_code == 302
    assert outputs(run)["ask"] == {"amount": 120, "paid": True, "how": "card"}
    assert "Answered. The values are the output of the step." in after


def test_an_error_is_at_its_field_and_what_was_typed_is_kept(run, gate, operator):
    answer = posted(signed_in(operator), gate, amount="zero", paid="true", how="card")
    body = answer.content.decode()

    assert answer.status_code == 422
    assert 'value="zero"' in body
    assert 'aria-invalid="true"' in body
    assert "Value &#x27;amount&#x27;: &#x27;zero&#x27; is not of type" in body
    assert '<option value="card" selected>' in body
    assert states(run)["ask"] == "gated"


def test_the_proposer_sees_why_they_cannot_answer(gate, proposer):
    client = signed_in(proposer)
    shown = words(client.get(f"/gates/{gate.pk}"))
    sent = posted(client, gate, amount="1")

    assert "You cannot" in shown
    assert "Your answer" not in shown
    assert sent.status_code == 403


def test_the_run_says_whom_it_waits_for(run, operator):
    client = signed_in(operator)
    page = words(page_of(run, client))
    detail = words(step_of(run, "ask", client))

    assert "Waiting for an answer" in page
    assert "is waiting for an answer. Can answer: operator" in page
    assert page.count("Open the form") == 2
    assert "amount" in detail


def test_a_plan_approval_names_the_values(proposer, operator):
    plan_gate = open_gate(proposed(PLAN, proposer))
    page = words(signed_in(operator).get(f"/gates/{plan_gate.pk}"))

    assert "Asks for amount" in page


def test_the_api_answers_and_refuses_with_a_code(run, gate, operator):
    api = Caller(token_of(operator))
    path = f"gates/{gate.pk}:answer"
    wrong = api.post(path, {"digest": gate.digest_hex, "values": {"amount": 0}})
    stale = api.post(path, {"digest": "0" * 64, "values": {"amount": 1}})
    plain = api.post(
        f"gates/{gate.pk}/decisions", {"digest": gate.digest_hex, "approve": True}
    )
    done = api.post(path, {"digest": gate.digest_hex, "values": {"amount": 1}})
    other = api.post(path, {"digest": gate.digest_hex, "values": {"amount": 2}})

    assert (wrong.status_code, wrong.json()["code"]) == (422, "input.invalid")
    assert wrong.json()["problems"][0]["name"] == "amount"
    assert (stale.status_code, stale.json()["code"]) == (409, "approval.stale_digest")
    assert plain.json()["code"] == "input.values_required"
    assert (done.status_code, done.json()["kind"]) == (201, "input")
    assert (other.status_code, other.json()["code"]) == (409, "input.already_answered")
    step = api.get(f"runs/{run.pk}").json()["steps"][0]
    assert (step["kind"], step["output"]["amount"]) == ("input", 1)


def test_the_command_answers(
    gate, run, operator, live_server: Any, tmp_path: Path
) -> None:
    shell = Shell(live_server.url, tmp_path, {"operator": token_of(operator)})
    listed = shell.json("operator", "gate", "list", "--status", "open")
    assert [one["kind"] for one in listed] == ["input"]
    done = shell.json(
        "operator",
        "gate",
        "answer",
        str(gate.pk),
        "--digest",
        gate.digest_hex,
        "--value",
        "amount=12",
        "--value",
        "how=card",
    )

    assert done["status"] == "approved"
    assert outputs(run)["ask"] == {"amount": 12, "how": "card"}
