"""Decisions on the gate page: one form, and refusals with their code."""

import json
import re

import pytest
from django.http import HttpResponse
from django.test import Client

from approvals.models import Decision
from execfabric.identity import services as accounts
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from tests.builders import (
    end_dry_runs,
    open_gate,
)
from tests.console_builders import (
    BACKEND,
    PLAN,
    a_run,
    codes,
    decide,
    rows,
    signed_in,
    words,
)

pytestmark = pytest.mark.usefixtures("registry")


@pytest.fixture
def run(proposer, operator) -> Run:
    return a_run(proposer)


@pytest.mark.promise("S3.61")
def test_approving_leads_to_the_run_which_goes_on(run, operator) -> None:
    answered = decide(signed_in(operator), open_gate(run), comment="as agreed")

    run.refresh_from_db()
    assert (answered.status_code, answered["Location"]) == (302, f"/runs/{run.pk}")
    assert run.state == "running"
    [decision] = Decision.objects.all()
    assert (decision.voter_name, decision.comment) == ("operator", "as agreed")
    assert (decision.channel, decision.approve) == ("page", True)


def test_rejecting_ends_the_run_and_says_why(run, operator) -> None:
    gate = open_gate(run)
    client = signed_in(operator)

    decide(client, gate, verdict="reject", comment="not today")

    run.refresh_from_db()
    assert run.state == "rejected"
    text = words(client.get(f"/gates/{gate.pk}"))
    assert "not today" in text
    assert "When nobody answers" not in text
    assert "Rejected. It did not run." in text


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        pytest.param(
            {"verdict": "reject"},
            422,
            "approval.comment_required",
            id="reject in silence",
        ),
        pytest.param(
            {"digest": "0" * 64}, 409, "approval.stale_digest", id="another digest"
        ),
        pytest.param({"digest": ""}, 409, "approval.stale_digest", id="no digest"),
        pytest.param(
            {"comment": "x" * 10_001}, 422, "approval.comment_unreadable", id="too long"
        ),
    ],
)
def test_a_refused_answer_shows_the_gate_again_with_the_reason(
    fields, status, code, run, operator
) -> None:
    answered = decide(signed_in(operator), open_gate(run), **fields)

    assert answered.status_code == status
    assert code in codes(answered)
    assert open_gate(run).digest_hex in words(answered)
    assert not Decision.objects.exists()


@pytest.mark.parametrize("fields", [{"verdict": "perhaps"}, {"verdict": ""}])
def test_an_answer_that_is_neither_yes_nor_no_is_not_one(fields, run, operator) -> None:
    answered = decide(signed_in(operator), open_gate(run), **fields)

    assert answered.status_code == 422
    assert not Decision.objects.exists()


@pytest.mark.parametrize("who", ["auditor", "admin"])
def test_who_may_look_but_not_decide_is_told_why_and_refused(who, run, request) -> None:
    client, code = signed_in(request.getfixturevalue(who)), "approval.not_in_group"
    gate = open_gate(run)

    page, answered = client.get(f"/gates/{gate.pk}"), decide(client, gate)

    assert code in codes(page)
    assert rows(page, "decision-form") == 0
    assert answered.status_code == 403
    assert code in codes(answered)
    assert not Decision.objects.exists()


def test_nobody_decides_on_their_own_proposal(operator, second_operator) -> None:
    client = signed_in(operator)
    gate = open_gate(a_run(operator))

    page, answered = client.get(f"/gates/{gate.pk}"), decide(client, gate)

    assert codes(page) == ["approval.own_proposal"]
    assert answered.status_code == 403
    assert "approval.own_proposal" in codes(answered)
    assert not Decision.objects.exists()


def test_the_owner_of_the_agent_that_proposed_sees_why_they_cannot_decide(
    operator, second_operator
) -> None:
    agent, _ = accounts.create_agent(
        name="planner", owner="operator", by=system("test"), at=clock.now()
    )
    run = proposals.propose(
        text=PLAN, inputs={"word": "x"}, by=agent.actor(), at=clock.now()
    )

    page = signed_in(operator).get(f"/gates/{open_gate(run).pk}")

    assert codes(page) == ["approval.agent_owner"]
    assert "Proposed by an agent. operator is responsible for it." in words(page)


@pytest.mark.parametrize("method", ["get", "head", "options", "put", "delete"])
def test_no_method_but_post_decides(method, run, operator) -> None:
    client, gate = signed_in(operator), open_gate(run)
    address = f"/gates/{gate.pk}/decide?verdict=approve&digest={gate.digest_hex}"

    answered = getattr(client, method)(address)
    client.get(f"/gates/{gate.pk}?verdict=approve&digest={gate.digest_hex}")

    looks = method in {"get", "head"}
    assert answered.status_code == (302 if looks else 405)
    assert answered.get("Location", "") == (f"/gates/{gate.pk}" if looks else "")
    assert not Decision.objects.exists()


def test_a_post_from_another_site_is_refused(run, operator) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator, backend=BACKEND)

    assert decide(client, open_gate(run)).status_code == 403
    assert not Decision.objects.exists()


def test_a_stranger_does_not_learn_that_a_gate_is_there(run, stranger) -> None:
    client = signed_in(stranger)
    gate = open_gate(run)

    assert client.get(f"/gates/{gate.pk}").status_code == 404
    assert decide(client, gate).status_code == 404
    assert client.get(f"/gates/{gate.pk}/subject.json").status_code == 404
    assert Client().get(f"/gates/{gate.pk}").status_code == 302


def test_the_second_tab_is_told_that_it_is_too_late(
    run, operator, second_operator
) -> None:
    gate = open_gate(run)
    first, second = signed_in(second_operator), signed_in(operator)
    decide(first, gate)

    answered = decide(second, gate)

    assert answered.status_code == 409
    assert "approval.already_settled" in codes(answered)
    assert rows(answered, "decision-form") == 0


def test_an_open_page_is_drawn_again_when_someone_decides(
    run, operator, second_operator
) -> None:
    gate = open_gate(run)
    reader = signed_in(operator)
    again = _reload_url(reader.get(f"/gates/{gate.pk}"))

    unchanged = reader.get(again, headers={"HX-Request": "true"})
    decide(signed_in(second_operator), gate)
    changed = reader.get(again, headers={"HX-Request": "true"})

    assert unchanged.status_code == 204
    assert rows(changed, "gate-settled") == 1
    assert rows(changed, "decision-form") == 0


def test_approve_is_offered_when_the_dry_run_has_ended(proposer, operator) -> None:
    run = proposals.propose(
        text=PLAN, inputs={"word": "hello"}, by=proposer.actor(), at=clock.now()
    )
    gate = open_gate(run)
    reader = signed_in(operator)
    early = reader.get(f"/gates/{gate.pk}")
    end_dry_runs()

    state = reader.get(f"/dry-runs/{run.dry_run.pk}/state")
    late = reader.get(_reload_url(early), headers={"HX-Request": "true"})

    assert "You can approve when the dry run has finished." in words(early)
    assert re.search(r'value="approve"[^>]* disabled', early.content.decode())
    assert json.loads(state["HX-Trigger"]) == {"dry-run-ended": {}}
    assert not re.search(r'value="approve"[^>]* disabled', late.content.decode())


def _reload_url(page: HttpResponse) -> str:
    found = re.search(r'hx-get="(/gates/[^"]+seen=[^"]+)"', page.content.decode())
    assert found
    return found[1]
