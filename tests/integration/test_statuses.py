"""What runs wait for, read from rows: on pages, in lists and filters, in the API."""

import pytest

from execfabric.lib import clock
from orchestration.runs.control import control
from orchestration.runs.domain.run_status import WaitKind, shown_state
from orchestration.runs.domain.states import RunState
from orchestration.runs.models import Run
from orchestration.runs.pages import statuses
from orchestration.runs.pages.run_list import waiting_for, with_shown_state
from tests.api_builders import Caller, token_of
from tests.builders import approved, claimed, driven, plan, proposed, step
from tests.console_builders import rows, signed_in, words
from tests.integration.concurrency_builders import alone
from tests.web.run_builders import FAILING, GATED, TWO_STEPS

pytestmark = pytest.mark.usefixtures("registry")

FORM = {"type": "object", "properties": {"go": {"type": "boolean"}}}
EVENT = {"id": "paid", "kind": "wait", "event": {"type": "paid", "key": "7"}}
RETRIED = step(
    "flaky", "flaky", params={"until": 3}, retry={"attempts": 4, "initial": "1h"}
)
UNKNOWN = plan(step("send", "once", params={"how": "unknown"}))
CHECKED = plan(step("send", "probed-once", params={"how": "unknown"}))
ASK = {"id": "ask", "kind": "input", "form": FORM, "ask": {"groups": ["operator"]}}


def status_of(run: Run):
    return statuses.of_runs([run], at=clock.now())[run.pk]


@pytest.fixture
def waiting(proposer, operator, worker, witness) -> dict[WaitKind, Run]:
    """Return a run for each kind of wait."""
    people = proposer, operator
    alone_first = approved(alone(), *people, env="prod")
    paused = approved(TWO_STEPS, *people)
    control.pause(run_id=paused.pk, by=operator.actor(), at=clock.now())
    runs = {
        WaitKind.APPROVAL: driven(approved(GATED, *people), worker),
        WaitKind.ANSWER: approved(plan(ASK), *people),
        WaitKind.FAILURE: driven(approved(FAILING, *people), worker),
        WaitKind.OUTCOME: driven(approved(UNKNOWN, *people), worker),
        WaitKind.RESUME: paused,
        WaitKind.PROBE: driven(approved(CHECKED, *people), worker),
        WaitKind.EVENT: approved(plan(EVENT), *people),
        WaitKind.TIME: approved(
            plan({"id": "p", "kind": "wait", "for": "1h"}), *people
        ),
        WaitKind.RETRY: driven(approved(plan(RETRIED), *people), worker),
        WaitKind.PLACE: approved(alone(), *people, env="prod"),
        WaitKind.WORKER: alone_first,
    }
    for run in runs.values():
        run.refresh_from_db()
    return runs


def test_each_run_says_what_it_waits_for_and_each_filter_finds_it(waiting) -> None:
    found = statuses.of_runs(waiting.values(), at=clock.now())

    kinds = {kind: found[run.pk].waiting_for for kind, run in waiting.items()}
    assert {kind: [w.kind for w in waits] for kind, waits in kinds.items()} == {
        kind: [kind] for kind in WaitKind
    }
    assert all(waits[0].since for waits in kinds.values())
    assert kinds[WaitKind.APPROVAL][0].groups == (("operator", 1),)
    assert kinds[WaitKind.PLACE][0].run == str(waiting[WaitKind.WORKER].pk)
    assert kinds[WaitKind.EVENT][0].name == "event paid with key 7"
    for kind, run in waiting.items():
        assert [*Run.objects.filter(waiting_for(kind))] == [run], kind


def test_the_state_in_lists_is_that_of_the_page(waiting) -> None:
    for run in with_shown_state(Run.objects.all()):
        present = frozenset(run.steps.values_list("state", flat=True))
        assert run.shown_state == shown_state(RunState(run.state), present)


def test_statuses_need_the_same_queries_for_any_number_of_runs(
    waiting, proposer, operator, django_assert_max_num_queries
) -> None:
    for _ in range(5):
        proposed(TWO_STEPS, proposer)

    with django_assert_max_num_queries(8):
        statuses.of_runs(Run.objects.all(), at=clock.now())


def test_work_is_counted_without_waits(proposer, operator, worker) -> None:
    run = driven(approved(GATED, proposer, operator), worker)

    status = status_of(run)
    first = run.steps.get(key="first").attempts.get()
    took = (first.ended_at - first.started_at).total_seconds()
    assert status.worked_s == pytest.approx(took, abs=1e-5)
    assert status.waited_s > 0
    assert status.sentence.startswith("Waiting for an operator for ")
    assert "1 of 2 done" in status.sentence


def test_a_step_that_works_is_named(proposer, operator) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    claimed(run, "first")

    assert status_of(run).lead == "Running step “first”"


def test_list_home_and_page_show_the_status(
    waiting, operator, django_assert_max_num_queries
) -> None:
    client = signed_in(operator)

    listed = words(client.get("/runs"))
    assert "Waiting for an operator for" in listed
    assert "Waiting for a user to act on the failed step “only”" in listed
    assert "Waiting for an answer in step “ask”" in listed
    for kind in WaitKind:
        page = client.get("/runs", {"waiting_for": str(kind)})
        assert rows(page, "run-row") == 1, kind
    failed = waiting[WaitKind.FAILURE]
    assert "act on the failed step" in words(client.get(f"/runs/{failed.pk}"))
    assert "act on the failed step" in words(client.get("/"))
    with django_assert_max_num_queries(16):
        client.get("/runs")


def test_the_list_hides_runs_of_others_from_a_proposer(waiting, stranger) -> None:
    page = signed_in(stranger).get("/runs", {"waiting_for": "failure"})

    assert rows(page, "run-row") == 0


@pytest.mark.django_db(transaction=True)
def test_the_api_has_the_field_waiting_for(waiting, operator) -> None:
    run = waiting[WaitKind.APPROVAL]

    answer = Caller(token_of(operator)).get(f"runs/{run.pk}").json()
    [listed] = (
        Caller(token_of(operator)).get("runs", waiting_for="retry").json()["items"]
    )

    [wait] = answer["waiting_for"]
    assert (wait["kind"], wait["step"]) == ("approval", "second")
    assert wait["groups"] == {"operator": 1}
    assert answer["status"].startswith("Waiting for an operator for ")
    assert answer["progress"]["total"] == 2
    assert answer["progress"]["done"] == 1
    assert answer["worked_s"] > 0
    assert answer["waited_s"] > 0
    assert listed["id"] == str(waiting[WaitKind.RETRY].pk)
    assert Caller(token_of(operator)).get("runs", waiting_for="luck").status_code == 422
