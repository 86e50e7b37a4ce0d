"""A step run is one instance of a step of the plan, and may come while the run proceeds."""

from collections import Counter
from contextlib import contextmanager
from sys import setprofile

import pytest
from django.db import IntegrityError

from audit import selectors as record
from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.domain.results import Finished
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.engine.transitions import locked_change
from orchestration.runs.models import StepRun
from orchestration.runs.worker import work
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    chain,
    driven,
    plan,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def instance(run, key, **fields):
    """Build another instance of a step of the plan."""
    known = run.steps.get(key=key, item=None)
    return StepRun(
        run=run,
        key=key,
        position=run.steps.count() + fields.get("item", 0),
        effect_class=known.effect_class,
        **fields,
    )


def added(run, *steps):
    with locked_change(run.id, by=work.BY, at=clock.now()) as change:
        for one in steps:
            change.add_step(one)


def test_items_added_while_the_run_proceeds_are_ordinary_step_runs(
    proposer, operator, worker, witness
):
    text = plan(
        step("first"),
        step("each", "witness", after="first", params={"mark": "once"}),
    )
    run = approved(text, proposer, operator)
    each = run.steps.get(key="each")
    lease = attempts.claim(
        step_run_id=run.steps.get(key="first").id,
        worker=worker.name,
        session=span_id(),
        by=work.BY,
        at=clock.now(),
        cache=worker.cache,
    )

    # The worker learns of them from their events.
    added(run, *(instance(run, "each", item=item, parent=each) for item in (0, 1)))
    following = attempts.complete(
        lease,
        Finished({}, {}),
        worker=worker.name,
        session=span_id(),
        by=work.BY,
        at=clock.now(),
        cache=worker.cache,
    )
    attempts.not_started(following.session, "No.", by=work.BY, at=clock.now())
    run = driven(run, worker)

    assert worker.cache.refused == 1
    assert run.state == "succeeded"
    steps = list(run.steps.order_by("position"))
    assert [(s.key, s.item, s.state) for s in steps] == [
        ("first", None, "succeeded"),
        ("each", None, "succeeded"),
        ("each", 0, "succeeded"),
        ("each", 1, "succeeded"),
    ]
    assert len({s.spec_id for s in steps}) == 4
    assert len(witness.read()) == 3
    assert sorted(s.completed_seq for s in steps) == [
        event.seq
        for event in record.events_after(run.stream, 0)
        if event.kind == "step.succeeded"
    ]
    verified = streams.verify_now(run.stream)
    assert verified is not None
    assert verified.whole, verified


def test_an_instance_is_in_a_run_once(proposer, operator):
    run = approved(chain(1), proposer, operator)

    with pytest.raises(IntegrityError):
        added(run, instance(run, "s0"))


def test_steps_that_do_the_same_have_the_same_reuse_digest_in_any_run(
    proposer, operator, worker
):
    text = plan(
        step("one", params={"value": "a"}),
        step("same", after="one", params={"value": "$one.output.value"}),
        step("other", after="same", params={"value": "b"}),
    )
    runs = [driven(approved(text, proposer, operator), worker) for _ in range(2)]

    digests = [dict(run.steps.values_list("key", "reuse_digest")) for run in runs]

    assert digests[0] == digests[1]
    assert digests[0]["one"] == digests[0]["same"]
    assert digests[0]["one"] != digests[0]["other"]
    assert len({s.spec_id for run in runs for s in run.steps.all()}) == 6


@contextmanager
def counted():
    """Count the calls of functions while it is open."""
    calls = Counter()

    def count(frame, event, arg):
        calls[event] += 1

    setprofile(count)
    try:
        yield calls
    finally:
        setprofile(None)


def cost(proposer, operator, length):
    """How many calls a step costs in the middle of a chain of that length."""
    run, cache = approved(chain(length), proposer, operator), RunCache()
    given = {"worker": "w", "by": work.BY, "cache": cache}
    first = run.steps.get(key="s0")
    lease = attempts.claim(
        step_run_id=first.id, session=span_id(), at=clock.now(), **given
    )
    found = []
    for _ in range(length // 2):
        with counted() as calls:
            lease = attempts.complete(
                lease, Finished({}, {}), session=span_id(), at=clock.now(), **given
            )
        found.append(calls.total())
    assert lease is not None
    assert cache.refused == 0
    # The least of a few: a collection of garbage adds to what a step calls.
    return min(found[-3:])


def test_a_step_costs_no_more_in_a_long_run(proposer, operator):
    short, long = cost(proposer, operator, 8), cost(proposer, operator, 160)

    assert long < 1.1 * short
