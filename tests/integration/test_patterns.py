"""Each control-flow pattern on the real engine; `docs/patterns.md` has the results."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from audit.models import Event
from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans.services import saving
from orchestration.runs.control import control, events
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Run
from orchestration.runs.worker import work
from orchestration.runs.worker.work import WorkerContext
from tests.builders import approved, driven, outputs, states
from tests.patterns import PAGE, PATTERNS, ControlFlowPattern, page

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
WRITE = "EXECFABRIC_WRITE_PATTERNS"
"""Set to write the page instead of comparing it."""
SHOWN: dict[int, bool] = {}


@dataclass
class Showing:
    """The run of a pattern's plan, and who may do what with it."""

    pattern: ControlFlowPattern
    proposer: User
    operator: User
    worker: WorkerContext

    def start(self, **inputs: Any) -> Run:
        """Return a run whose plan is approved."""
        values = {**self.pattern.inputs, **inputs}
        return approved(self.pattern.plan, self.proposer, self.operator, **values)

    def done(self, run: Run | None = None, **inputs: Any) -> Run:
        """Return a run after a worker has done all that can run."""
        return driven(run or self.start(**inputs), self.worker)

    def send(self, kind: str, key: str, **payload: Any) -> None:
        by, at = self.operator.actor(), clock.now()
        events.send(type=kind, key=key, payload=payload, by=by, at=at)


def started(run: Run) -> list[str]:
    """Return the steps in the order in which they started."""
    return moments(run, "step.started")


def moments(run: Run, *kinds: str) -> list[str]:
    found = Event.objects.filter(stream=run.stream, kind__in=kinds)
    return [*found.order_by("seq").values_list("step", flat=True)]


def story(run: Run) -> list[tuple[str, str]]:
    """Return the starts and ends of steps in their order."""
    kinds = ["step.started", "step.succeeded"]
    found = Event.objects.filter(stream=run.stream, kind__in=kinds).order_by("seq")
    return [(step, kind) for kind, step in found.values_list("kind", "step")]


def sequence(show: Showing) -> None:
    run = show.done()
    assert [step for step, _ in story(run)] == ["first", "first", "second", "second"]


def split(show: Showing) -> None:
    run = show.start()
    driven_once(show, run, "first")
    assert states(run) == {"first": "succeeded", "left": "ready", "right": "ready"}


def driven_once(show: Showing, run: Run, key: str) -> None:
    """Let a worker do one step and nothing after it."""
    ready = run.steps.get(key=key)
    show.worker.is_ending = True
    work.work(step_run_id=ready.pk, context=show.worker)
    show.worker.is_ending = False


def synchronization(show: Showing) -> None:
    run = show.start()
    driven_once(show, run, "left")
    assert states(run)["both"] == "pending"
    assert started(show.done(run)) == ["left", "right", "both"]


def exclusive_choice(show: Showing) -> None:
    skipped = "skipped_by_condition"
    few, many = states(show.done(size=3)), states(show.done(size=30))
    assert (few["large"], few["small"]) == (skipped, "succeeded")
    assert (many["large"], many["small"]) == ("succeeded", skipped)


def simple_merge(show: Showing) -> None:
    for size in (3, 30):
        run = show.done(size=size)
        assert started(run).count("after") == 1
        assert run.state == "succeeded"


def multi_choice(show: Showing) -> None:
    def ran(**inputs: Any) -> set[str]:
        return {*started(show.done(**inputs))} - {"build"}

    assert ran(env="dev", tests=False) == set()
    assert ran(env="stage", tests=True) == {"test", "pack"}
    assert ran(env="prod", tests=True) == {"test", "scan", "pack"}


def synchronizing_merge(show: Showing) -> None:
    for env, picked in (("dev", {"test"}), ("stage", {"test", "pack"})):
        run = show.done(env=env)
        assert {*started(run)} == {"build", "after"} | picked
        assert started(run)[-1] == "after"


def multi_merge(show: Showing) -> None:
    run = show.done()
    assert run.state == "succeeded", run.reason
    records = run.steps.filter(key="record").values_list("output", flat=True)
    assert sorted(each["value"] for each in records) == ["left", "right"]


def discriminator(show: Showing) -> None:
    run = show.done()
    assert outputs(run)["after"] == {"value": "left"}
    assert states(run)["pause"] == "waiting"
    assert started(run) == ["left", "after"]


def implicit_termination(show: Showing) -> None:
    run = show.done()
    assert run.state == "succeeded"
    assert {*started(run)} == {"left", "right", "further"}


def instances(show: Showing) -> None:
    run = show.start()
    driven_once(show, run, "meanwhile")
    meanwhile = run.steps.get(key="meanwhile")
    assert meanwhile.state == "succeeded"
    assert run.steps.filter(key="each", item__isnull=False, state="ready").count() == 3
    assert show.done(run).state == "succeeded"


def instances_at_design_time(show: Showing) -> None:
    run = show.done()
    assert started(run) == ["each", "each", "each", "after"]
    assert run.steps.get(key="after").output == {"value": 3}


def instances_at_run_time(show: Showing) -> None:
    run = show.done()
    assert started(run) == ["list", "each", "each", "after"]
    assert run.steps.get(key="after").output == {"value": 2}


def deferred_choice(show: Showing) -> None:
    for choice, other in (("ship", "refund"), ("refund", "ship")):
        run = show.start()
        assert states(run)["answer"] == "waiting"
        show.send("pattern.answered", "order-1", choice=choice)
        assert states(show.done(run))[other] == "skipped_by_condition"
        assert started(run) == [choice]


def interleaved(show: Showing) -> None:
    for order in (["left", "right"], ["right", "left"]):
        run = show.start()
        for key in order:
            show.send("pattern.came", key)
        run = in_turns(show, run)
        assert started(run) == [*order, "after"]
        steps = [step for step, _ in story(run) if not step.endswith("came")]
        assert steps[::2] == steps[1::2]  # each one ended before the next one started


def in_turns(show: Showing, run: Run) -> Run:
    """Let worker and keeper take turns: the keeper passes a free key on."""
    for _ in range(3):
        run = show.done(run)
        sweep.sweep(at=clock.now())
    return show.done(run)


def milestone(show: Showing) -> None:
    for first, state in (("opened", "succeeded"), ("closed", "skipped_by_condition")):
        run = show.start()
        assert states(show.done(run))["order"] == "pending"
        show.send(f"pattern.{first}", "offer-1")
        assert states(show.done(run))["order"] == state
        other = {"opened": "closed", "closed": "opened"}[first]
        show.send(f"pattern.{other}", "offer-1")
        assert states(show.done(run))["order"] == state


def cancel_case(show: Showing) -> None:
    run = show.done()
    assert states(run)["pause"] == "waiting"
    control.cancel(run_id=run.pk, by=show.operator.actor(), at=clock.now())
    assert show.done(run).state == "cancelled"
    assert states(run) == {
        "first": "succeeded",
        "pause": "cancelled",
        "last": "cancelled",
    }


SHOWS: dict[int, Callable[[Showing], None]] = {
    1: sequence,
    2: split,
    3: synchronization,
    4: exclusive_choice,
    5: simple_merge,
    6: multi_choice,
    7: synchronizing_merge,
    8: multi_merge,
    9: discriminator,
    11: implicit_termination,
    12: instances,
    13: instances_at_design_time,
    14: instances_at_run_time,
    16: deferred_choice,
    17: interleaved,
    18: milestone,
    20: cancel_case,
}


@pytest.mark.parametrize("number", SHOWS)
def test_a_plan_shows_the_pattern(number, proposer, operator, worker):
    pattern = PATTERNS[number - 1]
    if pattern.sub_plan:
        saving.save_plan(text=pattern.sub_plan, by=proposer.actor(), at=clock.now())

    SHOWS[number](Showing(pattern, proposer, operator, worker))

    SHOWN[number] = True


def test_the_page_has_the_results_of_these_tests():
    if SHOWN.keys() != SHOWS.keys():
        pytest.skip("Run this whole file: the page has the results of all its tests.")
    assert [one.number for one in PATTERNS] == [*range(1, 21)]
    assert {one.number for one in PATTERNS if one.plan} == SHOWS.keys()

    expected = page(PATTERNS, SHOWN)

    if os.environ.get(WRITE):
        PAGE.write_text(expected)
    assert PAGE.read_text() == expected
