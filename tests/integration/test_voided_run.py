"""A run whose approval was voided while steps were under way, and then refused."""

import pytest

from approvals.models import Gate
from orchestration.runs.domain.states import FINAL_STEP
from orchestration.runs.models import Run
from orchestration.runs.worker import work
from tests.builders import OPEN, approved, decided, open_gate, plan, states, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def test_a_no_to_a_voided_run_leaves_nothing_open(proposer, operator, worker):
    text = plan(step("asks", "risky"), step("starts"), parallel=True)
    run = approved(text, proposer, operator)
    Run.objects.filter(pk=run.pk).update(inputs={"slipped": "in"})
    work.work(step_run_id=run.steps.get(key="starts").id, context=worker)
    run.refresh_from_db()
    voided = run.state

    decided(open_gate(run), operator, approve=False, comment="Not this one.")
    run.refresh_from_db()

    assert voided == "awaiting_approval"
    assert run.state == "rejected"
    assert set(states(run).values()) <= {str(state) for state in FINAL_STEP}
    assert not Gate.objects.filter(context_id=run.id, status__in=OPEN).exists()
