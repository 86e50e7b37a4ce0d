"""A step run is one instance of a step of the plan, and may come while the run proceeds."""

import pytest
from django.db import IntegrityError

from orchestration.runs.models import StepRun
from tests.builders import (
    approved,
    chain,
    driven,
    plan,
    step,
)
from tests.calls import cost_of_completing

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def test_an_instance_is_in_a_run_once(proposer, operator):
    run = approved(chain(1), proposer, operator)

    with pytest.raises(IntegrityError, match="step_run_is_one_instance"):
        StepRun.objects.create(run=run, key="s0", position=1, effect_class="pure")


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


def cost(proposer, operator, length):
    """Return how many calls a step costs in the middle of a chain of that length."""
    run = approved(chain(length), proposer, operator)
    return cost_of_completing(run.steps.get(key="s0"), length // 2)


def test_a_step_costs_no_more_in_a_long_run(proposer, operator):
    short, long = cost(proposer, operator, 8), cost(proposer, operator, 160)

    assert long < 1.1 * short
