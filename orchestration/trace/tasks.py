"""Celery's task: a hint names a job, and one service call does the rest."""

from uuid import UUID

from celery import shared_task

from execfabric.infra import database
from execfabric.lib import clock
from orchestration.runs import dispatch
from orchestration.trace.services import jobs


@shared_task(name=dispatch.VERIFY, ignore_result=True)
def verify(*, job_id: str, **_: object) -> None:
    """Take a verification one turn further; a stale or doubled id does nothing."""
    database.check()
    jobs.work(job_id=UUID(job_id), at=clock.now())
