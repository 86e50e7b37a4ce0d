"""Runs as their pages show them, and what to look for there."""

from django.test import Client

from execfabric.lib import clock
from orchestration.runs.models import Attempt, Run, StepRun
from tests.builders import plan, step

AIM = 12
"""Queries that a page may make."""


TWO_STEPS = plan(
    step("first", params={"word": "hello"}),
    step("second", after="first", params={"word": "$first.output.word"}),
)


GATED = plan(
    step("first", params={"word": "hello"}),
    step(
        "second",
        after="first",
        params={"word": "$first.output.word"},
        approval={"reason": "Look at it"},
    ),
)


FAILING = plan(step("only", "misbehave", params={"how": "fail"}))


def page_of(run: Run, client: Client, **query: str):
    return client.get(f"/runs/{run.pk}", query)


def step_of(run: Run, key: str, client: Client):
    """Return the details of a step, as the page of its run loads them."""
    fetched = {"HX-Request": "true"}
    return client.get(f"/runs/{run.pk}/steps/{key}", headers=fetched)


def element(page, identity: str) -> str:
    """One live part of a page, from its opening tag to the next part's."""
    text = page.content.decode()
    start = text.index(f'id="{identity}"')
    return text[start : start + 2500]


def lost_after_intent(run: Run, key: str) -> StepRun:
    """Return the step after a sweep, when its worker died after its intent."""
    row = run.steps.get(key=key)
    at = clock.now()
    Attempt.objects.create(
        step_run=row,
        fence=1,
        generation=1,
        worker="gone",
        phase="lost",
        spec=row.spec,
        session_id="0" * 16,
        started_at=at,
        intent_at=at,
        ended_at=at,
    )
    error = {"code": "step.worker_lost", "message": "The worker died.", "ran": None}
    StepRun.objects.filter(pk=row.pk).update(
        state="indeterminate", error=error, worker="gone", tries=1, fence=1
    )
    row.refresh_from_db()
    return row
