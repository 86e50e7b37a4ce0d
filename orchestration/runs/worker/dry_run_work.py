"""A worker's way through a dry run: claim, ask each handler, store the report."""

import logging
import tempfile
from pathlib import Path
from uuid import UUID

from execfabric.lib import clock
from orchestration.plans.services.preview import Previewer
from orchestration.runs import dispatch
from orchestration.runs.control import dry_runs
from orchestration.runs.control.dry_runs import ClaimLost
from orchestration.runs.worker import outage
from orchestration.skills.execution import Runner

log = logging.getLogger(__name__)


def work(*, dry_run_id: UUID, worker: str) -> bool:
    """Carry out a queued dry run in a runner of its own; False when it was not free.

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
    """Carry out a queued dry run; False when it was not free or was taken away."""
    held = dry_runs.claim(dry_run_id=dry_run_id, worker=worker)
    if held is None:
        return False

    def on_step(done: int) -> None:
        outage.insist(lambda: dry_runs.progress(held, done))

    content = dry_runs.content_of(held)
    previewer = Previewer(content, runner, workdir, on_step=on_step)
    try:
        report = previewer.report()
    except ClaimLost:
        return False
    except Exception as error:
        log.exception("Dry run %s failed.", dry_run_id)
        reason = f"The dry run did not work: {type(error).__name__}."
        ended = outage.insist(lambda: dry_runs.fail(held, reason, at=clock.now()))
    else:
        ended = outage.insist(lambda: dry_runs.finish(held, report, at=clock.now()))
    if (waiting := dry_runs.next_queued()) is not None:
        # Hints that came while this worker was busy were dropped.
        dispatch.send_dry_runs([waiting])
    return ended
