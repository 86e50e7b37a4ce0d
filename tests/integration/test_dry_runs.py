"""Dry runs as jobs: bounded, without secrets, in a worker, and never stuck."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from audit.models import Event
from audit.selectors import envelope
from execfabric.lib import canonical, clock
from orchestration.plans.domain import dryrun
from orchestration.plans.errors import PlanInvalid
from orchestration.plans.services.preview import Previewer
from orchestration.runs import dispatch
from orchestration.runs.control import dry_runs, proposals
from orchestration.runs.errors import DryRunPending, DryRunUnknown, TooManyDryRuns
from orchestration.runs.keeper import sweep
from orchestration.runs.models import DryRun
from orchestration.runs.selectors import dry_run as visible_dry_run
from orchestration.skills.errors import SecretsClosed
from orchestration.skills.services import secrets
from tests.builders import (
    carried_out,
    chain,
    decided,
    end_dry_runs,
    open_gate,
    plan,
    step,
)
from tests.integration.dry_run_builders import ended, queued

pytestmark = pytest.mark.usefixtures("registry")


def proposed_only(by, text):
    """Propose a run whose dry run is still queued."""
    return proposals.propose(text=text, inputs={}, by=by.actor(), at=clock.now())


def lapse(row: DryRun) -> None:
    """End the lease of a killed worker by moving the clock."""
    DryRun.objects.filter(pk=row.pk).update(lease_until=Now() - timedelta(seconds=1))


def test_asking_for_a_dry_run_calls_no_handler_and_hints_a_worker(
    proposer, tmp_path, monkeypatch, django_capture_on_commit_callbacks
) -> None:
    hints = []
    monkeypatch.setattr(dispatch, "send_dry_runs", hints.append)
    path = tmp_path / "touched"

    with django_capture_on_commit_callbacks(execute=True):
        row = queued(proposer, plan(step("a", "touch", params={"path": str(path)})))

    assert hints == [[row.id]]
    assert (row.state, row.report) == ("queued", None)


def test_a_broken_plan_is_refused_with_its_problems_and_queues_nothing(
    proposer,
) -> None:
    with pytest.raises(PlanInvalid) as refused:
        queued(proposer, plan(step("a", "unknown")))

    assert refused.value.details["problems"]
    assert not DryRun.objects.exists()


def test_a_dry_run_is_carried_out_once_however_often_it_is_hinted(proposer) -> None:
    row = ended(queued(proposer, chain(3)))

    assert (row.state, row.steps_done, row.steps_total) == ("finished", 3, 3)
    assert row.report["coverage"] == 100
    assert not carried_out(row.id)
    again = DryRun.objects.get(pk=row.id)
    assert (again.tries, again.finished_at) == (1, row.finished_at)


def test_a_plan_is_approved_only_after_its_dry_run_has_ended(
    proposer, operator
) -> None:
    run = proposed_only(proposer, plan(step("a")))

    with pytest.raises(DryRunPending) as refused:
        decided(open_gate(run), operator)
    end_dry_runs()
    decided(open_gate(run), operator)

    assert refused.value.code == "approval.dry_run_pending"
    run.refresh_from_db()
    assert run.state == "running"


def test_a_plan_can_be_rejected_while_its_dry_run_is_queued(proposer, operator) -> None:
    run = proposed_only(proposer, plan(step("a")))

    decided(open_gate(run), operator, approve=False)

    end_dry_runs()
    run.refresh_from_db()
    assert run.state == "rejected"
    assert DryRun.objects.get(run=run).state == "finished"


def test_the_record_of_a_run_has_the_end_of_its_dry_run_before_any_decision(
    proposer, operator, tmp_path
) -> None:
    params = {"path": str(tmp_path / "touched")}
    run = proposed_only(proposer, plan(step("a", "touch", params=params)))
    end_dry_runs()
    decided(open_gate(run), operator)

    events = Event.objects.filter(stream=run.stream).order_by("seq")
    kinds = [event.kind for event in events]
    fact = envelope(events[kinds.index("run.dry_run_finished")])["payload"]
    assert kinds.index("run.dry_run_finished") < kinds.index("gate.decided")
    assert (fact["coverage"], fact["would_fail"]) == (0, ["a"])
    report = DryRun.objects.get(run=run).report
    assert fact["report"] == canonical.digest_of(dry_runs.REPORT_DOMAIN, report)


def test_a_killed_worker_is_noticed_its_dry_run_tried_again_and_then_ended(
    proposer, operator
) -> None:
    run = proposed_only(proposer, plan(step("a")))
    row = DryRun.objects.get(run=run)
    states = []
    for worker in ("first", "second"):
        held = dry_runs.claim(dry_run_id=row.id, worker=worker)
        assert held
        lapse(row)
        sweep.sweep(at=clock.now())
        row.refresh_from_db()
        states.append(row.state)

    assert states == ["queued", "incomplete"]
    assert row.reason == "The worker was lost 2 times. Nothing was changed."
    decided(open_gate(run), operator)


def test_a_worker_that_lost_its_claim_writes_nothing(proposer) -> None:
    row = queued(proposer)
    held = dry_runs.claim(dry_run_id=row.id, worker="slow")
    lapse(row)
    sweep.sweep(at=clock.now())

    with pytest.raises(dry_runs.ClaimLost):
        dry_runs.progress(held, 1)
    assert not dry_runs.finish(held, dryrun.Report(()), at=clock.now())
    assert not dry_runs.fail(held, "late", at=clock.now())
    row.refresh_from_db()
    assert (row.state, row.report) == ("queued", None)


def test_one_worker_carries_out_one_dry_run_at_a_time(proposer) -> None:
    first, second = queued(proposer), queued(proposer)

    assert dry_runs.claim(dry_run_id=first.id, worker="one")
    assert dry_runs.claim(dry_run_id=second.id, worker="one") is None
    assert dry_runs.claim(dry_run_id=first.id, worker="two") is None
    assert dry_runs.claim(dry_run_id=second.id, worker="two")
    with pytest.raises(IntegrityError), transaction.atomic():
        DryRun.objects.update(worker="one")


def test_a_dry_run_that_no_worker_takes_is_ended_with_the_reason(
    proposer, operator, settings
) -> None:
    run = proposed_only(proposer, plan(step("a")))
    row = DryRun.objects.get(run=run)
    late = clock.now() + timedelta(seconds=settings.DRY_RUN_WAIT_SECONDS + 1)

    sweep.sweep(at=clock.now())
    row.refresh_from_db()
    before = row.state
    sweep.sweep(at=late)

    row.refresh_from_db()
    assert (before, row.state) == ("queued", "incomplete")
    assert row.reason == "No worker was free within 180 seconds. Nothing was changed."
    decided(open_gate(run), operator)


def test_the_keeper_hints_again_what_no_worker_took(proposer, monkeypatch) -> None:
    hints = []
    row = queued(proposer)
    monkeypatch.setattr(dispatch, "send_dry_runs", hints.append)

    sweep.sweep(at=clock.now())
    sweep.sweep(at=clock.now() + timedelta(seconds=10))

    assert hints == [[], [row.id]]


def test_an_actor_has_a_bounded_number_of_dry_runs_waiting(
    proposer, operator, settings
) -> None:
    settings.DRY_RUNS_PER_ACTOR = 2
    queued(proposer), queued(proposer)

    with pytest.raises(TooManyDryRuns) as refused:
        queued(proposer)
    with pytest.raises(TooManyDryRuns):
        proposed_only(proposer, plan(step("a")))
    queued(operator)
    end_dry_runs()
    queued(proposer)

    assert (refused.value.code, refused.value.kind) == ("dry_run.too_many", "limited")


def test_a_dry_run_without_a_run_is_removed_after_a_day(proposer) -> None:
    mine, waiting = ended(queued(proposer)), queued(proposer)
    run = proposed_only(proposer, plan(step("a")))
    carried_out(DryRun.objects.get(run=run).id)

    DryRun.objects.filter(state="finished").update(
        finished_at=clock.now() - timedelta(days=1, seconds=1)
    )
    sweep.sweep(at=clock.now())

    left = set(DryRun.objects.values_list("pk", flat=True))
    assert mine.pk not in left
    assert left == {waiting.pk, DryRun.objects.get(run=run).pk}


def test_only_who_asked_sees_a_dry_run_that_belongs_to_no_run(
    proposer, operator, auditor
) -> None:
    row = queued(proposer)

    assert visible_dry_run(proposer.actor(), row.id) == row
    for other in (operator, auditor):
        with pytest.raises(DryRunUnknown):
            visible_dry_run(other.actor(), row.id)


def test_a_bug_in_the_dry_run_ends_it_as_failed_and_people_can_decide(
    proposer, operator, monkeypatch
) -> None:
    run = proposed_only(proposer, plan(step("a")))
    row = DryRun.objects.get(run=run)

    def broken(_: Previewer) -> None:
        raise RuntimeError

    monkeypatch.setattr(Previewer, "report", broken)

    assert carried_out(row.id)
    row.refresh_from_db()
    assert (row.state, row.reason) == (
        "failed",
        "The dry run failed: RuntimeError. Nothing was changed.",
    )
    decided(open_gate(run), operator)


def test_secrets_are_readable_in_worker_processes_only(proposer, monkeypatch) -> None:
    monkeypatch.setattr(secrets, "_open_in", 0)
    with pytest.raises(SecretsClosed):
        secrets.read("lab-token")
    secrets.open_here()

    assert secrets.read("lab-token") == "laboratory-secret-token"
