"""The Celery task of verification jobs."""

from uuid import UUID

from celery import shared_task

from execfabric.infra import database
from execfabric.lib import clock
from orchestration.trace.services import jobs


@shared_task(name=jobs.VERIFY, ignore_result=True)
def verify(*, job_id: str, **_: object) -> None:
    """Continue a verification for one turn; an outdated id does nothing."""
    database.check()
    jobs.work(job_id=UUID(job_id), at=clock.now())
