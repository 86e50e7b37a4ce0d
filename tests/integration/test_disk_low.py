"""Before the disk is full, new work is refused and what waits is held."""

import pytest
from django.test import override_settings

from execfabric.lib.rights import Role
from orchestration.runs.worker import work
from tests.api_builders import PLAN, caller, registry
from tests.builders import approved, chain, driven, states
from tests.console_builders import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

ALMOST_FULL = override_settings(MIN_FREE_BYTES=2**60)


def test_a_proposal_is_refused_by_name() -> None:
    registry()
    proposer = caller("proposing", Role.PROPOSER)
    body = {"plan": PLAN, "inputs": {"word": "x"}}

    with ALMOST_FULL:
        refused = proposer.post("runs", body)

    assert refused.status_code == 503
    assert refused.json()["code"] == "service.disk_full"
    assert int(refused.headers["Retry-After"]) > 0
    assert proposer.post("runs", body).status_code == 201


def test_steps_that_wait_are_held_and_go_on_later(
    registry, proposer, operator, worker
) -> None:
    run = approved(chain(2), proposer, operator)

    with ALMOST_FULL:
        ready = run.steps.get(key="s0")
        assert work.work(step_run_id=ready.id, context=worker) == 0
        assert states(run) == {"s0": "ready", "s1": "pending"}
    driven(run, worker)

    assert states(run) == {"s0": "succeeded", "s1": "succeeded"}


def test_pages_say_so(operator) -> None:
    client = signed_in(operator)

    with ALMOST_FULL:
        assert 'data-testid="disk-low"' in client.get("/runs").content.decode()
    assert 'data-testid="disk-low"' not in client.get("/runs").content.decode()
