"""Build plans with lists, and follow the items of their runs."""

from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.domain.results import Failure
from orchestration.runs.engine import attempts
from tests.builders import (
    DONE,
    step,
)


def each(key="each", action="echo", **fields):
    """Build a step that runs for each of three items."""
    made = {"forEach": ["a", "b", "c"], "as": "letter"}
    return step(key, action, **{"params": {"value": "$letter"}, **made, **fields})


def items_of(run, key="each"):
    return list(run.steps.filter(key=key, item__isnull=False).order_by("item"))


def container(run, key="each"):
    return run.steps.get(key=key, item=None)


def claim(run, item, key="each"):
    """Claim one item of a step, and do nothing else."""
    return attempts.claim(
        step_run_id=run.steps.get(key=key, item=item).id,
        worker="test",
        session=span_id(),
        at=clock.now(),
    )


def end(run, item, result=DONE):
    """Claim an item that is ready and end it; claim nothing else."""
    attempts.complete(
        claim(run, item), result, worker="test", session="", at=clock.now()
    )
    run.refresh_from_db()


def item_states(run):
    return [item.state for item in items_of(run)]


FAILED = Failure("lab.refused", "The target said no.")
