"""A commit whose answer was lost is recognised when it is sent again."""

import pytest

from audit import selectors as record
from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import Memory
from orchestration.runs.models import Attempt
from orchestration.runs.worker import work
from tests.builders import approved, chain, driven, plan, states, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture(params=["remembered", "read again"])
def memory(request):
    """Return what the worker has cached when it retries; an error clears it."""
    return Memory() if request.param == "remembered" else Memory(0)


def claimed(run, key, session, memory):
    return attempts.claim(
        step_run_id=run.steps.get(key=key).id,
        worker="w",
        session=session,
        by=work.BY,
        at=clock.now(),
        memory=memory,
    )


def completed(grip, result, session, memory):
    return attempts.complete(
        grip,
        result,
        worker="w",
        session=session,
        by=work.BY,
        at=clock.now(),
        memory=memory,
    )


def kinds(run):
    return [event.kind for event in record.events_after(run.stream, 0)]


def test_a_claim_sent_again_returns_the_hold_that_it_took(proposer, operator, memory):
    run = approved(chain(1), proposer, operator)
    session = span_id()
    first = claimed(run, "s0", session, memory)

    again = claimed(run, "s0", session, memory)
    other = claimed(run, "s0", span_id(), memory)

    assert first is not None
    assert again == first
    assert other is None
    assert kinds(run).count("step.started") == 1


@pytest.mark.parametrize(
    ("result", "following"),
    [
        (Finished({"value": 1}, {}), True),
        (Failure("lab.refused", "The target said no."), False),
        (Lost("step.runner_died", "It died."), False),
    ],
)
def test_a_result_sent_again_is_not_late_and_the_next_hold_is_kept(
    result, following, proposer, operator, memory
):
    run = approved(chain(2), proposer, operator)
    grip = claimed(run, "s0", span_id(), memory)
    session = span_id()
    first = completed(grip, result, session, memory)
    told = kinds(run)

    again = completed(grip, result, session, memory)

    assert (first is not None) == following
    assert again == first
    assert kinds(run) == told


def test_the_worker_goes_on_with_the_hold_that_it_has_again(
    proposer, operator, bench, witness
):
    text = plan(
        step("first"),
        step("effect", "witness", after="first", params={"mark": "once"}),
    )
    run = approved(text, proposer, operator)
    grip = claimed(run, "first", span_id(), bench.memory)
    session = span_id()
    completed(grip, Finished({}, {}), session, bench.memory)
    held = completed(grip, Finished({}, {}), session, bench.memory)

    completed(held, Finished({"mark": "once"}, {}), span_id(), bench.memory)
    driven(run, bench)

    assert states(run) == {"first": "succeeded", "effect": "succeeded"}
    assert "attempt.late_result" not in kinds(run)


def test_a_result_of_an_attempt_that_was_lost_meanwhile_is_late(
    proposer, operator, memory
):
    run = approved(chain(1), proposer, operator)
    grip = claimed(run, "s0", span_id(), memory)
    assert attempts.not_started(
        grip.session, "It was never handed over.", by=work.BY, at=clock.now()
    )

    following = completed(grip, Finished({}, {}), span_id(), memory)

    assert following is None
    assert kinds(run)[-1] == "attempt.late_result"
    assert Attempt.objects.get(session_id=grip.session).phase == "fenced"
