"""A commit whose answer was lost is recognised when it is sent again."""

import pytest

from audit import selectors as record
from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.models import Attempt
from tests.builders import approved, chain, driven, plan, states, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture(params=["remembered", "read again"])
def cache(request):
    """Return what the worker has cached when it retries; an error clears it."""
    return RunCache() if request.param == "remembered" else RunCache(0)


def claimed(run, key, session, cache):
    return attempts.claim(
        step_run_id=run.steps.get(key=key).id,
        worker="w",
        session=session,
        at=clock.now(),
        cache=cache,
    )


def completed(lease, result, session, cache):
    return attempts.complete(
        lease,
        result,
        worker="w",
        session=session,
        at=clock.now(),
        cache=cache,
    )


def kinds(run):
    return [event.kind for event in record.events_after(run.stream, 0)]


def test_a_claim_sent_again_returns_the_hold_that_it_took(proposer, operator, cache):
    run = approved(chain(1), proposer, operator)
    session = span_id()
    first = claimed(run, "s0", session, cache)

    again = claimed(run, "s0", session, cache)
    other = claimed(run, "s0", span_id(), cache)

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
    result, following, proposer, operator, cache
):
    run = approved(chain(2), proposer, operator)
    lease = claimed(run, "s0", span_id(), cache)
    session = span_id()
    first = completed(lease, result, session, cache)
    told = kinds(run)

    again = completed(lease, result, session, cache)

    assert (first is not None) == following
    assert again == first
    assert kinds(run) == told


def test_the_worker_goes_on_with_the_hold_that_it_has_again(
    proposer, operator, worker, witness
):
    text = plan(
        step("first"),
        step("effect", "witness", after="first", params={"mark": "once"}),
    )
    run = approved(text, proposer, operator)
    lease = claimed(run, "first", span_id(), worker.cache)
    session = span_id()
    completed(lease, Finished({}, {}), session, worker.cache)
    held = completed(lease, Finished({}, {}), session, worker.cache)

    completed(held, Finished({"mark": "once"}, {}), span_id(), worker.cache)
    driven(run, worker)

    assert states(run) == {"first": "succeeded", "effect": "succeeded"}
    assert "attempt.late_result" not in kinds(run)


def test_a_result_of_an_attempt_that_was_lost_meanwhile_is_late(
    proposer, operator, cache
):
    run = approved(chain(1), proposer, operator)
    lease = claimed(run, "s0", span_id(), cache)
    assert attempts.not_started(
        lease.session, "It was never handed over.", at=clock.now()
    )

    following = completed(lease, Finished({}, {}), span_id(), cache)

    assert following is None
    assert kinds(run)[-1] == "attempt.late_result"
    assert Attempt.objects.get(session_id=lease.session).phase == "fenced"
