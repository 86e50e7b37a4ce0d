"""Throw-away."""
from datetime import timedelta
import pytest
from execfabric.lib import clock
from orchestration.runs.control import control, recovery, stops
from orchestration.runs.domain.results import Failure
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt, StepRun
from tests.builders import *
from tests.integration.test_failures import lapse
from tests.integration.test_abandoned import found, ONCE
from tests.integration.fallback_builders import BAD
from tests.integration.item_builders import claim
from tests.integration.rerun_builders import rerun
from tests.integration.subplan_builders import save, uses, paths
from tests.record import is_whole

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("registry")]

def lost(row):
    lapse(row); sweep.sweep(at=clock.now()); return StepRun.objects.get(pk=row.pk)

def resume(run, by):
    control.resume(run_id=run.pk, by=by.actor(), at=clock.now()); run.refresh_from_db()

def show(run, what):
    run.refresh_from_db()
    print(what, run.state, "|", run.reason, "|", list(run.steps.order_by("position").values_list("key","item","state","generation")), "attempts", Attempt.objects.filter(step_run__run=run).count())

def test_item(proposer, operator, witness):
    text = plan(step("each", "witness", forEach=["a", "b"], params={"mark": "$item"}, onItemError="continue") , step("next"), )
    run = approved(text, proposer, operator)
    claim(run, 0)
    found(lost(run.steps.get(key="each", item=0)), operator, happened=None)
    show(run, "abandoned")
    resume(run, operator); show(run, "resumed")
    for n in range(4):
        while (r := run.steps.filter(state="ready").first()):
            completed(claimed_row(r))
        show(run, f"worked {n}")
        run.refresh_from_db()
        if run.state == "paused":
            resume(run, operator); show(run, f"resumed {n}")

def claimed_row(r):
    from orchestration.runs.engine import attempts
    from execfabric.lib.ids import span_id
    return attempts.claim(step_run_id=r.pk, worker="w", session=span_id(), at=clock.now())

def test_subplan(proposer, operator, witness):
    save(plan(step("once", "witness", params={"mark": "x"}), id="inner", name="Inner", inputs={"properties": {"word": {"type": "string"}}}), proposer)
    run = approved(plan(uses(), step("next")), proposer, operator)
    claimed_row(run.steps.get(key="once"))
    found(lost(run.steps.get(key="once")), operator, happened=None)
    show(run, "abandoned")
    for n in range(3):
        resume(run, operator); show(run, "resumed")
        while (r := run.steps.filter(state="ready").first()):
            completed(claimed_row(r))
        show(run, f"worked {n}")

def test_fallback(proposer, operator, witness):
    fb = {"skill": "lab", "action": "witness", "params": {"mark": "x"}}
    run = approved(plan(step("q", fallback=fb)), proposer, operator)
    nxt = completed(claimed_row(run.steps.get()), BAD)
    show(run, "q failed")
    f = run.steps.get(key="q.fallback")
    if nxt is None: claimed_row(f)
    found(lost(run.steps.get(key="q.fallback")), operator, happened=None)
    show(run, "fallback abandoned")
    resume(run, operator); show(run, "resumed")
    r = run.steps.get(key="q")
    if r.state == "ready":
        completed(claimed_row(r), BAD)
        show(run, "q failed again")
        f = run.steps.get(key="q.fallback")
        print("FALLBACK", f.state, f.generation, list(f.attempts.values_list("fence","phase")))
        if f.state == "ready":
            print("second try of abandoned effect:", claimed_row(f))

def test_rerun(proposer, operator, witness):
    run = approved(plan(ONCE), proposer, operator)
    claimed(run, "once")
    unknown = lost(run.steps.get())
    found(unknown, operator, happened=None)
    resume(run, operator); show(run, "ended")
    again = rerun(run, proposer, "once")
    decided(open_gate(again), operator)
    again.refresh_from_db()
    print("RERUN", again.state, claimed(again, "once"))
    # and cancelled with unknown
    run = approved(plan(ONCE, id="p2"), proposer, operator)
    claimed(run, "once")
    lost(run.steps.get())
    control.cancel(run_id=run.pk, by=operator.actor(), at=clock.now())
    show(run, "cancelled unknown")
    again = rerun(run, proposer, "once")
    decided(open_gate(again), operator)
    print("RERUN2", claimed(again, "once"))

def test_cancel_race(proposer, operator, second_operator, worker):
    run = approved(chain(2), proposer, operator)
    lease = claimed(run, "s0")
    row = stops.stop(skill="", reason="r", cancel=True, by=second_operator.actor(), at=clock.now())
    completed(lease)           # before the keeper's next sweep
    sweep.sweep(at=clock.now())
    show(run, "after sweep")
    stops.lift(stop_id=row.pk, reason="x", by=second_operator.actor(), at=clock.now())
    print("END", driven(run, worker).state)

def test_cancel_unbegun(proposer, operator, second_operator, worker, witness, monkeypatch):
    """A claimed, non-idempotent step that fetches files begins after stop+cancel."""
    from orchestration.runs.engine import artifacts
    run = approved(plan(ONCE), proposer, operator)
    real = artifacts.local_paths
    def slow(*a, **k):
        stops.stop(skill="", reason="leak", cancel=True, by=second_operator.actor(), at=clock.now())
        sweep.sweep(at=clock.now())
        show(run, "while fetching")
        return real(*a, **k)
    monkeypatch.setattr(artifacts, "local_paths", slow)
    driven(run, worker)
    show(run, "end"); print("WITNESS", witness.read())
