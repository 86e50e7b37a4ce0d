"""Sub-plans in the trace: one session for each, below that of the run."""

import pytest

from audit import selectors as audit
from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans.services import saving
from orchestration.runs.models import Attempt
from orchestration.trace.services import streams
from tests.api_builders import Caller, token_of
from tests.builders import approved, driven, plan, step

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


def save(text: str, by: User) -> None:
    saving.save_plan(text=text, by=by.actor(), at=clock.now())


def runs(key: str, saved: str) -> dict:
    return {"id": key, "kind": "plan", "plan": saved}


@pytest.mark.promise("S3.40")
def test_each_sub_plan_has_a_session_of_its_own_in_the_trace_of_the_run(
    proposer, operator, worker
) -> None:
    save(plan(step("make"), id="inner"), proposer)
    save(plan(runs("left", "inner"), runs("right", "inner"), id="around"), proposer)
    text = plan(runs("all", "around"), step("last"))
    run = driven(approved(text, proposer, operator), worker)
    events = [
        audit.envelope(one) for one in audit.events_after(run.stream, 0, limit=99)
    ]
    of_run = run.trace_id[:16]

    # One trace, and in it a tree of sessions: of the run, of each sub-plan, of attempts.
    assert run.state == "succeeded"
    assert {one["traceId"] for one in events} == {run.trace_id}
    begun = {
        one["payload"].get("path", one["step"]): one
        for one in events
        if one["kind"] == "step.expanded"
    }
    sessions = {path: one["sessionId"] for path, one in begun.items()}
    assert set(sessions) == {"all", "all/left", "all/right"}
    assert len({*sessions.values(), of_run}) == 4
    assert {path: one["payload"]["parent_session"] for path, one in begun.items()} == {
        "all": of_run,
        "all/left": sessions["all"],
        "all/right": sessions["all"],
    }
    attempts = {str(row.session_id) for row in Attempt.objects.all()}
    inside = [one for one in events if one["payload"].get("path")]
    assert {one["payload"]["path"] for one in inside} >= {
        *("all/left", "all/left/make", "all/right", "all/right/make"),
    }
    for one in inside:
        outer = one["payload"]["path"].rpartition("/")[0]
        assert one["payload"]["scope"] == sessions[outer]
        own = sessions.get(one["payload"]["path"])
        assert one["sessionId"] in {sessions[outer], own} | attempts
    ended = [one for one in events if one["kind"] == "step.succeeded"]
    assert {one["step"]: one["sessionId"] for one in ended if one["step"] in begun} == {
        "all": sessions["all"]
    }
    outside = [one for one in events if one["step"] == "last"]
    assert {one["sessionId"] for one in outside} <= {of_run} | attempts
    assert streams.verify_stream(run.stream).differences == []
    [shown, *_] = Caller(token_of(proposer)).get(f"runs/{run.pk}").json()["steps"]
    assert [shown["session_id"], *(one["session_id"] for one in shown["items"])] == [
        *sessions.values()
    ]
