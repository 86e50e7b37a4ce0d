"""A decision and what follows from it in the run: at once, doubled, or in doubt."""

from contextlib import contextmanager
from functools import partial

import pytest
from django.db import DatabaseError, OperationalError, connection

from approvals.errors import CommentRequired
from approvals.models import Decision, Gate
from approvals.services.decisions import record_refusal
from audit import selectors as record
from orchestration.runs.control import gates
from orchestration.runs.keeper import sweep
from tests.builders import decided, open_gate, plan, proposed, states, step
from tests.database import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
TEXT = plan(step("one"))


def since_the_dry_run(run):
    """Return the kinds of the run's events since then, in order."""
    found = [event.kind for event in record.events_after(run.stream, 0)]
    return found[found.index("run.dry_run_finished") + 1 :]


@pytest.mark.parametrize("approve", [True, False])
def test_a_decision_whose_answer_was_lost_is_returned_when_it_is_sent_again(
    approve, proposer, operator, monkeypatch
):
    run = proposed(TEXT, proposer)
    answer = partial(decided, open_gate(run), operator, approve=approve)
    locked_change = gates.locked_change

    @contextmanager
    def unanswered(*args, **fields):
        with locked_change(*args, **fields) as change:
            yield change
        message = "the connection was lost"
        raise OperationalError(message)

    monkeypatch.setattr(gates, "locked_change", unanswered)
    with pytest.raises(OperationalError):
        answer()
    monkeypatch.setattr(gates, "locked_change", locked_change)
    before = since_the_dry_run(run)

    again = answer()

    run.refresh_from_db()
    after = (again.status, run.state, states(run))
    if approve:
        assert after == ("approved", "running", {"one": "ready"})
    else:
        assert after == ("rejected", "rejected", {"one": "cancelled"})
    assert since_the_dry_run(run) == before
    assert Decision.objects.count() == 1


def test_two_operators_at_once_start_a_run_once(proposer, operator, second_operator):
    run = proposed(TEXT, proposer)
    gate = open_gate(run)

    outcomes = at_once(
        *(lambda by=by: decided(gate, by).status for by in (operator, second_operator))
    )

    assert sorted(outcomes) == ["approval.already_settled", "approved"]
    kinds = since_the_dry_run(run)
    assert kinds.count("run.approved") == kinds.count("gate.decision_refused") == 1
    assert states(run) == {"one": "ready"}


def test_a_double_click_starts_a_run_once(proposer, operator):
    run = proposed(TEXT, proposer)
    gate = open_gate(run)

    outcomes = at_once(*[lambda: decided(gate, operator).status] * 8)

    assert outcomes == ["approved"] * 8
    assert since_the_dry_run(run).count("run.approved") == 1
    assert Decision.objects.count() == 1


def test_a_decision_and_the_expiry_at_once_agree_on_one_outcome(proposer, operator):
    for _ in range(5):
        run = proposed(TEXT, proposer)
        gate = open_gate(run)
        ended = {"gate_id": gate.pk, "context_id": run.pk, "by": sweep.BY}

        at_once(
            lambda gate=gate: decided(gate, operator).status,
            lambda gate=gate, ended=ended: gates.expire(**ended, at=gate.expires_at),
        )

        gate, kinds = Gate.objects.get(pk=gate.pk), since_the_dry_run(run)
        run.refresh_from_db()
        assert (gate.status, run.state) in {
            ("approved", "running"),
            ("expired", "expired"),
        }
        assert ("run.approved" in kinds) != ("run.expired" in kinds)
        assert gate.decisions.count() == (gate.status == "approved")


def test_a_refusal_that_could_not_be_recorded_is_not_counted(proposer, operator):
    run = proposed(TEXT, proposer)
    gate, error = open_gate(run), CommentRequired()

    def refuse():
        record_refusal(
            gate_id=gate.pk, by=operator.actor(), error=error, at=gate.requested_at
        )

    try:
        set_session("default_transaction_read_only", "on")
        with pytest.raises(DatabaseError, match="read-only"):
            refuse()
    finally:
        set_session("default_transaction_read_only", "off")
    refuse()

    [*_, event] = record.events_after(run.stream, 0)
    assert event.kind == "gate.decision_refused"
    assert record.envelope(event)["payload"]["attempts"] == 1


def set_session(name, value):
    """Set a parameter of this thread's session, as a standby has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
