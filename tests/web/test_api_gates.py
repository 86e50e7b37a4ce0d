"""Gates by API: what is asked, and the one way to answer."""

import hashlib

import pytest

from approvals.models import Decision
from execfabric.lib import canonical
from execfabric.lib.rights import Role
from tests.api_builders import Caller, a_run, approve, caller, open_gate, registry

pytestmark = pytest.mark.django_db


@pytest.fixture
def proposer() -> Caller:
    registry()
    return caller("proposer", Role.PROPOSER)


@pytest.fixture
def operator() -> Caller:
    return caller("operator", Role.OPERATOR)


def test_the_digest_of_a_gate_is_that_of_the_content_it_shows(
    proposer, operator
) -> None:
    run = a_run(proposer)

    gate = open_gate(operator, run)

    shown = canonical.dumps(gate["subject"])
    domain = gate["digest_domain"].encode()
    assert hashlib.sha256(domain + b"\n" + shown).hexdigest() == gate["digest"]
    assert (gate["run_id"], gate["step"], gate["kind"]) == (run, None, "run")
    assert gate["subject"]["inputs"] == {"word": "hello"}
    assert gate["reasons"]
    assert gate["requirements"] == [{"group": "operator", "count": 1}]
    assert gate["still_eligible"][0]["people"] == ["operator", "somebody"]


@pytest.mark.promise("S3.67")
def test_an_approval_is_kept_with_who_when_and_what(proposer, operator) -> None:
    run = a_run(proposer)
    gate = open_gate(operator, run)

    answer = approve(operator, gate, comment="as agreed")

    assert answer.status_code == 201
    assert answer.json()["status"] == "approved"
    [decision] = answer.json()["decisions"]
    assert (decision["name"], decision["approve"]) == ("operator", True)
    assert decision["digest"] == gate["digest"]
    assert decision["comment"] == "as agreed"
    assert decision["at"] >= gate["requested_at"]
    assert operator.get(f"runs/{run}").json()["state"] == "running"
    events = operator.get(f"runs/{run}/events").json()["items"]
    approved = next(e for e in events if e["kind"] == "gate.approved")
    assert approved["traceId"] == operator.get(f"runs/{run}").json()["trace_id"]


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [
        pytest.param("", "api", id="nothing"),
        pytest.param("cli", "cli", id="the command"),
        pytest.param("page", "api", id="pretending to be a page"),
    ],
)
def test_the_way_in_is_recorded(proposer, sent, recorded) -> None:
    operator = caller("operator", Role.OPERATOR, channel=sent)

    approve(operator, open_gate(operator, a_run(proposer)))

    assert Decision.objects.get().channel == recorded


def test_a_rejection_ends_the_run(proposer, operator) -> None:
    run = a_run(proposer)
    gate = open_gate(operator, run)

    answer = approve(operator, gate, approve=False, comment="wrong month")

    assert answer.json()["status"] == "rejected"
    assert operator.get(f"runs/{run}").json()["state"] == "rejected"


def test_nobody_approves_what_they_proposed() -> None:
    registry()
    operator = caller("operator", Role.OPERATOR)
    gate = open_gate(operator, a_run(operator))

    answer = approve(operator, gate)

    assert answer.status_code == 403
    assert answer.json()["code"] == "approval.own_proposal"
    assert operator.get(f"gates/{gate['id']}").json()["status"] == "requested"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        pytest.param({"digest": "0" * 64}, 409, "approval.stale_digest", id="digest"),
        pytest.param({"digest": ""}, 409, "approval.stale_digest", id="no digest"),
        pytest.param(
            {"approve": False}, 422, "approval.comment_required", id="no comment"
        ),
    ],
)
def test_a_decision_that_cannot_count_is_refused(
    proposer, operator, changes, status, code
) -> None:
    gate = open_gate(operator, a_run(proposer))

    answer = approve(operator, gate, **changes)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Decision.objects.exists()


def test_the_same_decision_twice_counts_once(proposer, operator) -> None:
    gate = open_gate(operator, a_run(proposer))
    approve(operator, gate)

    again = approve(operator, gate)
    other = approve(operator, gate, approve=False, comment="on second thoughts")

    assert (again.status_code, again.json()["status"]) == (201, "approved")
    assert other.status_code == 409
    assert other.json()["code"] in {
        "approval.already_decided",
        "approval.already_settled",
    }
    assert Decision.objects.count() == 1


def test_an_auditor_reads_every_gate_and_decides_on_none(proposer) -> None:
    auditor = caller("auditor", Role.AUDITOR)
    gate = open_gate(auditor, a_run(proposer))

    answer = approve(auditor, gate)

    assert answer.status_code == 403
    assert not Decision.objects.exists()


def test_gates_are_listed_by_run_status_and_cursor(proposer, operator) -> None:
    first, second = a_run(proposer, word="one"), a_run(proposer, word="two")
    approve(operator, open_gate(operator, first))

    approved = operator.get("gates", run=first, status="approved").json()["items"]
    every = operator.get("gates").json()["items"]
    page = operator.get("gates", limit=1).json()
    rest = operator.get("gates", after=page["next"]).json()["items"]

    assert [gate["run_id"] for gate in approved] == [first]
    assert second in {gate["run_id"] for gate in every}
    assert page["items"] + rest == every
