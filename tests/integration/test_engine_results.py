"""Whatever a handler yields, its step ends: nothing is left to a lease to find out."""

import pytest

from execfabric.lib import clock
from execfabric.lib.canonical import LARGEST_SAFE_INTEGER
from execfabric.lib.ids import span_id
from orchestration.runs.domain.results import Finished
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import RunCache
from tests.builders import approved, chain, states

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(LARGEST_SAFE_INTEGER + 1, id="an id of 64 bits"),
        pytest.param([2**80], id="an integer of any size"),
    ],
)
def test_an_output_without_canonical_form_fails_its_step(value, proposer, operator):
    run, memory = approved(chain(2), proposer, operator), RunCache()
    ready = run.steps.get(key="s0")
    given = {"worker": "first", "at": clock.now(), "cache": memory}
    lease = attempts.claim(step_run_id=ready.id, session=span_id(), **given)

    result = Finished({"value": value}, {})
    assert attempts.complete(lease, result, session=span_id(), **given) is None

    ready.refresh_from_db()
    assert states(run) == {"s0": "failed", "s1": "pending"}
    assert ready.error["code"] == "skill.output_invalid"
    assert ready.attempts.get().phase == "failed"
