"""The audit log finds failures by name, with the same rules as the names."""

import pytest

from audit.models import Event
from execfabric.lib import canonical, clock
from execfabric.lib.actor import system
from execfabric.lib.rights import Role
from orchestration.runs.control import control
from orchestration.runs.domain.failure_names import FailureName, name_of
from orchestration.runs.domain.results import Failure
from orchestration.runs.engine.quarantine import REPORTED_FAILURES, Duty, Quarantine
from orchestration.trace.selectors import LogFilter, search
from tests.api_builders import Caller, person, token_of
from tests.builders import approved, claimed, completed, driven, plan, step
from tests.console_builders import signed_in, words
from tests.web.run_builders import FAILING, TWO_STEPS

pytestmark = pytest.mark.usefixtures("registry")


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
