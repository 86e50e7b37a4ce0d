"""The audit log finds failures by name, with the same rules as the names."""

from datetime import timedelta

import pytest

from audit.models import Event
from execfabric.lib import canonical, clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from orchestration.runs.control import control
from orchestration.runs.domain.failure_names import FailureName, name_of
from orchestration.runs.domain.results import Failure
from orchestration.runs.engine.quarantine import REPORTED_FAILURES, Duty, Quarantine
from orchestration.runs.keeper import sweep
from orchestration.trace.selectors import LogFilter, search
from tests.api_builders import Caller, person, token_of
from tests.builders import (
    approved,
    claimed,
    completed,
    driven,
    plan,
    proposed,
    step,
)
from tests.console_builders import signed_in, words
from tests.integration.event_builders import awaits
from tests.web.run_builders import FAILING, TWO_STEPS

pytestmark = pytest.mark.usefixtures("registry")


INPUT = plan(
    {
        "id": "ask",
        "kind": "input",
        "form": {"type": "object", "properties": {"amount": {"type": "integer"}}},
        "ask": {"reason": "How much was it?", "groups": ["operator"]},
    }
)


@pytest.fixture
def failures(proposer, operator, worker) -> None:
    """Make runs that fail in several ways."""
    people = proposer, operator
    driven(approved(FAILING, *people), worker)
    late = approved(plan(step("slow")), *people)
    completed(claimed(late, "slow"), Failure("step.timed_out", "It took too long."))
    routed = plan(step("a"), step("b", after="a", when="steps.a.output.no > 1"))
    driven(approved(routed, *people), worker)
    unknown = plan(step("send", "once", params={"how": "unknown"}))
    driven(approved(unknown, *people), worker)
    ended = approved(TWO_STEPS, *people)
    control.cancel(run_id=ended.pk, by=operator.actor(), at=clock.now())
    for _ in range(REPORTED_FAILURES):
        keeper = Quarantine(by=system("keeper"), at=clock.now())
        keeper.each(Duty.WAITS, [(late.pk,)], _broken)


def _broken(_run: object) -> bool:
    raise RuntimeError("it broke")


def name_in_python(event: Event) -> FailureName | None:
    return name_of(event.kind, canonical.loads(bytes(event.body))["payload"])


@pytest.mark.promise("S3.52")
def test_each_failure_is_an_event_and_a_timeout_says_how_long(
    failures, proposer, operator
) -> None:
    proposed(TWO_STEPS, proposer)
    for text in (INPUT, plan(awaits(event={"type": "invoice.paid", "key": "7"}))):
        approved(text, proposer, operator)
    sweep.sweep(at=clock.now() + timedelta(days=30))

    events = [
        (event, canonical.loads(bytes(event.body))["payload"])
        for event in Event.objects.all()
    ]
    names = {name_of(event.kind, payload) for event, payload in events} - {None}

    assert names == set(FailureName)
    timed_out = {
        (payload.get("error") or {}).get("code", event.kind): payload["elapsed_ms"]
        for event, payload in events
        if name_of(event.kind, payload) is FailureName.TIMED_OUT
    }
    week = 7 * 24 * 3600 * 1000
    assert timed_out.pop("step.timed_out") < week
    assert timed_out.keys() == {
        "gate.expired",
        "run.expired",
        "input.expired",
        "wait.expired",
    }
    assert all(ms >= week for ms in timed_out.values())


def test_the_filter_finds_exactly_the_events_with_the_name(failures) -> None:
    events = list(Event.objects.all())
    named = {
        name: {event.pk for event in events if name_in_python(event) is name}
        for name in FailureName
    }

    for name in FailureName:
        found = {event.pk for event in search(LogFilter(failure=name))}
        assert found == named[name], name
    assert all(named.values())


def test_page_and_api_filter_by_the_name(failures) -> None:
    auditor = person("auditor", Role.AUDITOR)

    page = words(signed_in(auditor).get("/trace", {"failure": "TimedOut"}))
    [event] = Caller(token_of(auditor)).get("trace", failure="TimedOut").json()["items"]

    assert "It took too long." in page
    assert "The target said no." not in page
    assert event["kind"] == "step.failed"
    wrong = Caller(token_of(auditor)).get("trace", failure="Unlucky")
    assert wrong.status_code == 422
