"""Dry runs in the state that a test wants."""

from execfabric.lib import clock
from orchestration.runs.control import dry_runs
from orchestration.runs.models import DryRun
from tests.builders import (
    carried_out,
    plan,
    step,
)


def queued(by, text=None, **inputs) -> DryRun:
    return dry_runs.request(
        text=text or plan(step("a")), inputs=inputs, by=by.actor(), at=clock.now()
    )


def ended(row: DryRun) -> DryRun:
    assert carried_out(row.id)
    row.refresh_from_db()
    return row
