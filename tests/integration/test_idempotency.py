"""Requests that are repeated with an idempotency key."""

import pytest

from execfabric.identity.errors import RightMissing
from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.runs.control import proposals
from orchestration.runs.errors import KeyReused
from orchestration.runs.models import Run
from tests.builders import plan, step
from tests.database import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def propose(by: User, step_id: str) -> str:
    """Propose a plan of one step under one key; return the run's id."""
    run = proposals.propose(
        text=plan(step(step_id)),
        inputs={},
        by=by.actor(),
        at=clock.now(),
        idempotency_key="order-1",
    )
    return str(run.pk)


def test_a_request_sent_twice_at_once_makes_one_run(proposer):
    runs = at_once(*[lambda: propose(proposer, "a")] * 2)

    assert runs == [str(Run.objects.get().pk)] * 2


def test_of_two_requests_with_one_key_at_once_one_is_refused(proposer):
    outcomes = at_once(lambda: propose(proposer, "a"), lambda: propose(proposer, "b"))

    assert set(outcomes) == {str(Run.objects.get().pk), KeyReused.code}


def test_a_key_opens_nothing_to_a_user_who_has_lost_the_right(proposer):
    propose(proposer, "a")
    proposer.groups.clear()

    with pytest.raises(RightMissing):
        propose(proposer, "a")
