"""A random course of a random plan, on the engine and on the reference side by side."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from approvals.domain.states import GateStatus
from orchestration.runs.domain.results import Failure, Lost
from orchestration.runs.domain.states import (
    FINAL_RUN,
    RUN,
    RunEvent,
    RunState,
    StepState,
)
from orchestration.runs.models import StepRun
from tests.memory_runs import MemoryRun, finished
from tests.plan_shapes import Plan
from tests.random_plans import documents
from tests.reference_steps import (
    BLOCKED,
    CANCELLED,
    DONE,
    FAILED,
    LEFT,
    OPEN,
    PENDING,
    REJECTED,
    Node,
)
from tests.run_reference import Reference
from tests.unit.plans import plan as read
from tests.unit.test_plan_subplans import Saved, checked

S, E = StepState, RunEvent
SAME = {
    S.PENDING: PENDING,
    S.QUEUED: OPEN,
    S.SUCCEEDED: DONE,
    S.FAILED: FAILED,
    S.SKIPPED: BLOCKED,
    S.SKIPPED_BY_CONDITION: LEFT,
    S.REJECTED: REJECTED,
    S.CANCELLED: CANCELLED,
}
WORK = {
    S.GATED: "asks",
    S.WAITING: "waits",
    S.QUEUED: "queued",
    S.READY: "ready",
    S.RUNNING: "works",
    S.BACKOFF: "pauses",
    S.INDETERMINATE: "unknown",
}
GIVEN_UP = {S.SKIPPED, S.CANCELLED, S.SKIPPED_BY_CONDITION}


@dataclass
class Course:
    """A run of the engine and its reference, side by side."""

    plan: Plan
    data: st.DataObject
    n: int
    budget: dict[str, int] = field(default_factory=dict)
    flaws: frozenset[int] = frozenset()
    builds: int = 0
    is_flawed: bool = False
    trace: list[str] = field(default_factory=list)
    moves: list[tuple[StepState, StepState]] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)
    """The attempts that each step has used up."""
    expected: dict[str, StepState] = field(default_factory=dict)
    """What the last act does to a step."""

    def __post_init__(self) -> None:
        outside = {"room": self._draw(1), "desk": self._draw(2)}
        self.reference = Reference(self.plan, self.n, dict(outside))
        texts = documents(self.plan)
        *inner, text = texts.values()
        problems = checked(text, Saved(*inner), {"n": self.n}).problems
        assert [each for each in problems if each.severity == "error"] == []
        included = {
            name.removeprefix("p-").replace("-", "/"): read(text)
            for name, text in texts.items()
        }
        self.run = MemoryRun(
            document=included.pop("p"),
            included=included,
            inputs={"n": self.n},
            parallel_max=self.plan.parallel,
            observe=self.observe,
            in_round=self.reference.look,
            may_build=self.may_build,
            early_event=self.early_event,
            effect=self.data.draw(st.sampled_from(["pure", "idempotent", "other"])),
            outside=outside,
        )

    def _draw(self, most: int) -> int:
        return self.data.draw(st.integers(0, most))

    def may_build(self) -> bool:
        self.builds += 1
        self.is_flawed = self.builds in self.flaws
        return not self.is_flawed

    def early_event(self) -> int | None:
        return self._draw(4) if self._draw(2) == 1 else None

    # What the engine did

    def observe(self, step: StepRun, before: StepState, condition: Any) -> None:
        """Tell the reference what the engine did, or check that it follows."""
        name, now = self.run.name(step), StepState(step.state)
        self.trace.append(f"{name}: {before} -> {now}")
        self.moves.append((before, now))
        wanted = self.expected.pop(name, now)
        assert now is wanted, f"{name} is {now}, not {wanted}"
        if now in {S.RUNNING, S.PENDING}:
            self.tries[name] = self.tries.get(name, 0) + 1 if now is S.RUNNING else 0
        is_leaf = before not in {S.EXPANDED, S.FALLING_BACK}
        is_derived = now in {S.SKIPPED, S.CANCELLED, S.EXPANDED}
        if is_derived and before not in {S.PENDING, S.RUNNING}:
            return
        if before is S.PENDING and not self._is_left_out(now, condition):
            self._released(name, now)
        elif before in {S.QUEUED, S.GATED, S.READY} and now is S.PENDING:
            self.reference.back(name)
        elif is_leaf and before not in {S.FAILED, S.PENDING, S.SKIPPED}:
            if now in WORK:
                self.reference.works(name, WORK[now])
            else:
                self._ended(name, step, now)

    @staticmethod
    def _is_left_out(now: StepState, condition: Any) -> bool:
        """Return True if a step did not have its turn."""
        by_others = now is S.SKIPPED_BY_CONDITION and "when" not in (condition or {})
        return by_others or now in {S.SKIPPED, S.CANCELLED}

    def _released(self, name: str, now: StepState) -> None:
        state = self.reference.released(name)
        if state == OPEN and now is S.FAILED and self.is_flawed:
            self.reference.ends(name, FAILED)
        elif now in WORK:
            assert state == OPEN, f"{name} is {state}, not {now}"
            self.reference.works(name, WORK[now])
        elif now is not S.EXPANDED:
            assert state == SAME[now], f"{name} is {state}, not {now}"
        self.is_flawed = False

    def _ended(self, name: str, step: StepRun, now: StepState) -> None:
        n = (step.output or {}).get("n") if now is S.SUCCEEDED else None
        self.reference.ends(name, SAME[now], n)

    # What may happen

    def acts(self) -> list[tuple[Any, ...]]:
        run = self.run
        acts = [(act, step) for step in run.steps(*WORK) for act in self._acts_on(step)]
        can_pause = RUN.allows(run.state, E.PAUSE_REQUESTED) and self.budget["pause"]
        can_cancel = RUN.allows(run.state, E.CANCEL_REQUESTED) and self.budget["cancel"]
        can_resume = run.state is RunState.PAUSED and not run.steps(S.INDETERMINATE)
        others = [owner for _, _, owner in run.line if owner is None]
        requests = [
            (self.resume, can_resume),
            (self.pause, can_pause),
            (self.cancel, can_cancel),
            (self.leave, others),
        ]
        return [*acts, *((act,) for act, is_possible in requests if is_possible)]

    def _acts_on(self, step: StepRun) -> list[Callable[[StepRun], None]]:
        """Return what workers, the keeper, users and others can do to a step."""
        run, is_running = self.run, self.run.state is RunState.RUNNING
        has_event = step.kind == "wait" and run.loaded.planned(step).event
        may_start = run.may_start(step)
        acts = {
            S.READY: [(run.start, may_start), (self.change, may_start)],
            S.RUNNING: [(self.complete, True)],
            S.BACKOFF: [(run.time_comes, is_running)],
            S.WAITING: [(self.event, has_event), (run.time_comes, is_running)],
            S.GATED: [(self.decide, True)],
            S.INDETERMINATE: [(self.resolve, True), (self.not_started, True)],
            S.QUEUED: [(run.admit, run.may_be_admitted(step))],
        }
        possible = [act for act, is_possible in acts[step.state] if is_possible]
        if has_event or (self.change in possible and not self.budget["change"]):
            return possible[:1]
        return possible

    def _expect(self, step: StepRun, state: StepState) -> None:
        self.expected[self.run.name(step)] = state

    def change(self, step: StepRun) -> None:
        """Find at the claim that a step is no longer what was approved."""
        self.budget["change"] -= 1
        (self.run.void if self._draw(2) else self.run.fail)(step)

    def complete(self, step: StepRun) -> None:
        n = self.data.draw(st.sampled_from([1, 2, None, 3, None, 4, 0]))
        end = self._draw(12)
        if end in {7, 8} and self.budget["lost"]:
            self.budget["lost"] -= 1
            (self.lose if end == 8 else self.not_started)(step)
        elif end == 9 and self.budget["lost"]:
            self.budget["lost"] -= 1
            self.run.lost.add(step.id)
            self._expect(step, S.INDETERMINATE)
            self.run.complete(step, Lost("lost", "Lost."))
        elif end in {3, 4, 5}:
            self._fail(step, self.data.draw(st.booleans()))
        else:
            self._expect(step, S.SUCCEEDED)
            self.run.complete(step, finished(n))

    def lose(self, step: StepRun) -> None:
        self.run.lose(step)
        if step.state == S.READY:  # the loss uses up no attempt
            self.tries[self.run.name(step)] -= 1

    def not_started(self, step: StepRun) -> None:
        self.tries[self.run.name(step)] -= 1
        self.run.not_started(step)

    def _fail(self, step: StepRun, is_again: bool) -> None:
        """Let an attempt fail; a fallback waits until earlier attempts are known."""
        name = self.run.name(step)
        plan_step = self.reference.named(name).step
        is_fallback = name.endswith(".fallback")
        attempts = 1 if is_fallback else 1 + plan_step.retries
        can_fall = plan_step.has_fallback and not is_fallback
        is_unsure = step.id in self.run.lost and self.run.effect != "pure"
        is_ending = self.run.state is RunState.CANCELLING
        end = S.INDETERMINATE if can_fall and is_unsure and not is_ending else S.FAILED
        self._expect(
            step, S.BACKOFF if is_again and self.tries[name] < attempts else end
        )
        self.run.complete(step, Failure("failed", "No.", again=is_again))

    def event(self, step: StepRun) -> None:
        if self._draw(3) != 2 or self.run.state is not RunState.RUNNING:
            self._expect(step, S.SUCCEEDED)
            self.run.event_comes(step, self._draw(4))
        else:
            self._expect(step, S.FAILED)
            self.run.event_expires(step)

    def decide(self, step: StepRun) -> None:
        end, is_input = self._draw(19), step.kind == "input"
        if end == 7:
            self._expect(step, S.REJECTED)
            self.run.decide(step, GateStatus.REJECTED)
        elif end == 9 or (end == 8 and is_input):
            self._expect(step, S.FAILED if is_input else S.REJECTED)
            if not is_input:
                self.reference.end_asked = self.reference.end_asked or "expired"
            self.run.decide(step, GateStatus.EXPIRED)
        elif is_input:
            self._expect(step, S.SUCCEEDED)
            self.run.answer(step, self._draw(4))
        else:
            self._expect(step, S.SUCCEEDED if step.kind == "approval" else S.READY)
            self.run.decide(step, GateStatus.APPROVED)

    def resolve(self, step: StepRun) -> None:
        happened = self.data.draw(st.booleans())
        self._expect(step, S.SUCCEEDED if happened else S.FAILED)
        self.run.resolve(step, happened=happened, n=self._draw(4))

    def resume(self) -> None:
        self.budget["resume"] -= 1
        if self.budget["resume"] < 0:
            self.cancel()
        else:
            self.reference.resumed()
            self.run.resume()

    def pause(self) -> None:
        self.budget["pause"] -= 1
        self.reference.is_halted = True
        self.run.request(E.PAUSE_REQUESTED)

    def cancel(self) -> None:
        self.budget["cancel"] = 0
        self.reference.end_asked = "cancelled"
        self.run.request(E.CANCEL_REQUESTED)

    def leave(self) -> None:
        """Let another run leave its place."""
        key = next(key for key, _, owner in self.run.line if owner is None)
        self.run.line.remove(
            next(p for p in self.run.line if p[2] is None and p[0] == key)
        )
        self.reference.lines[key].remove("another run")

    # The whole run

    def drive(self) -> None:
        self.run.begin()
        self.compare()
        while self.run.state not in FINAL_RUN:
            acts = self.acts()
            assert acts, f"nothing will ever move: {self.states()}"
            act, *args = acts[self._draw(len(acts) - 1)]
            self.trace.append(f"{act.__name__} {[*map(self.run.name, args)]}")
            act(*args)
            self.compare()

    def states(self) -> dict[str, str]:
        return {self.run.name(s): str(s.state) for s in self.run.loaded.steps.values()}

    def compare(self) -> None:
        """Check that all states are those of the reference, and no slot is left free."""
        self.reference.settle()
        known = {node.name: node for node in self.reference.nodes()}
        rows = {self.run.name(s): s for s in self.run.loaded.steps.values()}
        assert rows.keys() == known.keys()
        is_over = self.run.state in FINAL_RUN
        assert (str(self.run.state) if is_over else "") == self.reference.end_of_run
        for name, row in rows.items():
            state = StepState(row.state)
            is_same = self._is_final(state, known[name]) if is_over else (
                self._is_now(state, known[name])
            )  # fmt: skip
            assert is_same, f"{name} is {state}, not {known[name].state}"
        if self.run.state is RunState.RUNNING:
            self._check_slots(known)

    def _is_now(self, state: StepState, node: Node) -> bool:
        """Return True if the engine is where the reference is."""
        if self.reference.is_ending() and node.state in {PENDING, OPEN}:
            return True  # it may be cancelled at once, or once the others have ended
        return SAME.get(state, OPEN) == node.state

    @staticmethod
    def _is_final(state: StepState, node: Node) -> bool:
        if node.state == CANCELLED:
            # An abort skips what is pending, so a container of it fails.
            is_outer = bool(node.members or node.fallback)
            return state in GIVEN_UP or (is_outer and state is S.FAILED)
        return SAME.get(state, OPEN) == node.state

    def _check_slots(self, known: dict[str, Node]) -> None:
        """Check that what may start has started, unless all slots are taken."""
        due = [node for node in known.values() if self.reference.may_start(node)]
        at_work = {node.name: node.work for node in known.values() if node.work}
        slots = self.plan.parallel
        busy = [
            n for n, work in at_work.items() if work in {"ready", "works", "pauses"}
        ]
        if slots == 1:
            assert at_work or not due, f"waits for nothing: {due}"
        elif not slots or len(busy) < slots:
            free = [node.name for node in due if not _has_limit(node)]
            assert not free, f"not started: {free}"
        if not slots or len([*self.run.steps(S.RUNNING)]) < slots:
            ready = [s for s in self.run.steps(S.READY) if not self.run.may_start(s)]
            names = [*map(self.run.name, ready)]
            stuck = [name for name in names if not _has_limit(known[name])]
            assert not stuck, f"not claimed: {stuck}"
        free = self.run.startable()
        may_start = {
            step.id for step in self.run.steps(S.READY) if self.run.may_start(step)
        }
        assert free <= may_start, "a worker is sent to a step that it may not claim"
        assert free or not may_start, "no worker is sent to a step that may be claimed"


def _has_limit(node: Node) -> bool:
    """Return True for an item, or its fallback, whose list may have no free place."""
    return bool(node.role != "step" and node.step.items and node.step.items.max)
