"""Build plans and runs with concurrency keys."""

from execfabric.lib import clock
from orchestration.plans.services import saving
from tests.builders import (
    plan,
    step,
)

INPUTS = {"type": "object", "properties": {"env": {}}}


def alone(*steps, **fields):
    """Return a plan of which one run at a time may proceed per environment."""
    key = {"key": "deploy-$inputs.env", **fields}
    return plan(*(steps or [step("a")]), inputs=INPUTS, concurrency=key)


def one_by_one(**fields):
    """Return a plan whose step has its key to itself."""
    locked = step("a", concurrency={"key": "database"}, **fields)
    return plan(locked, step("z"), parallel={"max": 1})


def state(run) -> str:
    run.refresh_from_db()
    return run.state


def saved(by, *steps, **fields) -> dict:
    """Save a plan, and return a step that runs it."""
    text = plan(*steps, id="inner", **fields)
    saving.save_plan(text=text, by=by.actor(), at=clock.now())
    return {"id": "sub", "kind": "plan", "plan": "inner"}
