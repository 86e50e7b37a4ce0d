"""Carry out a dry run: claim it, call each handler, store the report."""

import logging
import tempfile
from pathlib import Path
from uuid import UUID

from execfabric.lib import clock
from orchestration.plans.services.preview import Previewer
from orchestration.runs import dispatch
from orchestration.runs.control import dry_runs
from orchestration.runs.control.dry_runs import ClaimLost
from orchestration.runs.engine import artifacts
from orchestration.runs.worker import outage
from orchestration.skills.execution import Runner

log = logging.getLogger(__name__)


def work(*, dry_run_id: UUID, worker: str) -> bool:
    """Carry out a queued dry run in its own runner; return False if it is not queued.

    Safe to call any number of times with the same id.
    """
    with tempfile.TemporaryDirectory(prefix="execfabric-dry-") as folder:
        runner = Runner(home=Path(folder) / "home")
        try:
            return carry_out(
                dry_run_id=dry_run_id,
                worker=worker,
                runner=runner,
                workdir=Path(folder) / "work",
            )
        finally:
            runner.kill()


def carry_out(*, dry_run_id: UUID, worker: str, runner: Runner, workdir: Path) -> bool:
    """Carry out a dry run; return False if it cannot be claimed or is lost."""
    held = dry_runs.claim(dry_run_id=dry_run_id, worker=worker)
    if held is None:
        return False

    def on_step(done: int) -> None:
        outage.retry(lambda: dry_runs.progress(held, done))

    content = dry_runs.content_of(held)
    previewer = Previewer(
        content, runner, workdir, on_step=on_step, paths=artifacts.local_paths
    )
    try:
        report = previewer.report()
    except ClaimLost:
        return False
    except Exception as error:
        log.exception("Dry run %s failed.", dry_run_id)
        reason = f"The dry run failed: {type(error).__name__}. Nothing was changed."
        is_ended = outage.retry(lambda: dry_runs.fail(held, reason, at=clock.now()))
    else:
        is_ended = outage.retry(lambda: dry_runs.finish(held, report, at=clock.now()))
    if (queued := dry_runs.next_queued()) is not None:
        # Hints that came while this worker was busy were dropped.
        dispatch.send_dry_runs([queued])
    return is_ended
