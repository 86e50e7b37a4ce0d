"""Send hints about verification jobs to the workers; a hint may be lost."""

from uuid import UUID

from django.db import transaction

from orchestration.runs import dispatch

VERIFY = "runs.verify"


def hint(job_id: UUID) -> None:
    """Notify the workers after the commit that a verification job is queued."""

    def publish() -> None:
        dispatch.send_tasks(VERIFY, [{"job_id": str(job_id)}])

    transaction.on_commit(publish, robust=True)
