"""A model of the protocol in docs/architecture.md, "How a step runs".

Two workers, the keeper, time, people and faults act in every order on one run with few
steps. Each guard of the protocol has a name and can be left out. This file has the states,
`protocol_moves.py` the moves, and `protocol_search.py` visits every state that they reach.
The model shares no code with the product: compare it with the page.

What it takes for granted is in `ASSUMPTIONS`; and people who resolve an outcome report
what the target shows.
"""

from dataclasses import dataclass
from typing import NamedTuple

GUARDS = {
    "commit_compares_end_of_stream": "a change is written only to what it was decided on",
    "intent_before_effect": "the claim is committed before the handler is called",
    "claim_requires_ready_step": "a hint is not trusted: the step must be ready",
    "claim_requires_running_run": "no claim in a run that is paused, ends or is undone",
    "claim_proves_approval": "the approval is still valid at the claim",
    "claim_compares_content": "what would run is what was approved",
    "void_approval_is_asked_again": "a step whose approval is void gets a new gate",
    "decision_compares_content": "a decision counts for the content that was seen",
    "proposer_may_not_decide": "another person than the proposer decides",
    "result_compares_fence": "a result counts for the attempt that is current",
    "lost_lease_looks_at_effect_class": "only a safe step is repeated after a lost worker",
    "dead_runner_looks_at_effect_class": "only a safe step is repeated after a dead runner",
    "success_needs_answer": "a runner that died has not succeeded",
    "give_back_needs_proof": "only a call that was not begun is given back",
    "late_call_is_refused": "without a valid lease the handler is not called",
    "deadline_kills_handler": "the guardian kills a handler at its deadline",
    "did_not_happen_needs_dead_attempt": "it is refused while the attempt may be alive",
    "probe_waits_for_dead_attempt": "a target is asked once the old attempt is dead",
    "answer_needs_same_attempt": "an answer counts while that attempt is unknown",
    "cancel_waits_for_running_step": "a run is cancelled once no step is running",
    "keeper_ends_expired_leases": "a step of a lost worker is found",
    "keeper_repeats_hints": "a step whose hint is lost is found",
    "unknown_blocks_rollback": "nothing is undone while an outcome is unknown",
    "undo_waits_for_lost_attempts": "nothing is undone that may still happen",
    "undo_in_reverse_order": "an undo waits for those of later steps",
    "failed_undo_stops_rollback": "after a failed undo no other one starts",
    "undo_is_never_repeated": "a run is rolled back once",
}
"""The guards of the protocol, and what each of them says."""
ASSUMPTIONS = {
    "deadline_kills_stopped_handler": "a process that is stopped beyond its deadline never "
    "acts again",
}
"""What no guard of the protocol ensures by itself."""
ALL = frozenset({*GUARDS, *ASSUMPTIONS})
FINAL = frozenset({"succeeded", "cancelled", "rolled_back", "rollback_failed"})
SYSTEM = {"worker", "keeper", "time"}
UNSTARTED = {"pending", "gated", "ready"}
DENIED = {"failed", "cancelled"}
"""States that say that a step had no effect."""


class Step(NamedTuple):
    """A step run; `effects`, `yes` and `seen_by` are what happened in the world."""

    state: str = "pending"
    fence: int = 0
    has_lease: bool = False
    may_live: bool = False
    """True while a lost attempt may still act."""
    content: int = 0
    """What would run now; an edit changes it."""
    asked: int = -1
    """The content of its open or approved gate, or -1."""
    is_expired: bool = False
    seen: int = -1
    """The content that the approver has on the screen, or -1."""
    yes: tuple[str, int] = ("", -1)
    """Who has approved, and the content that they saw."""
    effects: int = 0
    answer: tuple[str, int] = ("", -1)
    """What a probe has found, and the fence of the attempt that it asked about."""


class Worker(NamedTuple):
    """A worker with its runner, and the attempt that it has."""

    at: str = "idle"
    """`idle`, `deciding` on a copy, `claimed`, in the `handler`, or `answered`."""
    step: int = -1
    fence: int = 0
    content: int = 0
    decides: str = ""
    is_stale: bool = False
    """True if the run has changed since the worker read it."""
    answer: str = ""
    is_frozen: bool = False
    is_dead: bool = False


class Left(NamedTuple):
    """How often each fault or person may still act: the bounds of the search."""

    crash: int = 0
    freeze: int = 0
    runner_death: int = 0
    failure: int = 0
    wipe: int = 0
    forged_hint: int = 0
    edit: int = 0
    expiry: int = 0
    pause: int = 0
    retry: int = 0
    rollback: int = 0
    probe: int = 0


@dataclass(frozen=True)
class Scenario:
    """A plan, and what may go wrong."""

    left: Left
    steps: int = 1
    gated: bool = False
    """True if the first step needs its own approval."""
    idempotent: bool = False
    parallel: bool = False
    workers: int = 2

    def start(self) -> "State":
        steps = (Step(),) * self.steps + (Step("absent"),) * self.steps
        return State("running", steps, (Worker(),) * self.workers, self.left)

    def undo_of(self, index: int) -> int:
        """Return the place of the undo step of a step."""
        return index + self.steps

    def is_undo(self, index: int) -> bool:
        return index >= self.steps

    def may_rerun(self, index: int) -> bool:
        return self.idempotent and not self.is_undo(index)


class State(NamedTuple):
    """A run with its steps, the workers, and what the world has seen."""

    run: str
    steps: tuple[Step, ...]
    workers: tuple[Worker, ...]
    left: Left
    has_hint: bool = False
    completed: tuple[int, ...] = ()
    """The steps in the order of their completion."""
    broken: str = ""
    """The invariant that the last move broke."""

    def with_step(self, index: int, **fields: object) -> "State":
        steps = list(self.steps)
        steps[index] = steps[index]._replace(**fields)
        return self._replace(steps=tuple(steps))

    def with_worker(self, index: int, worker: Worker) -> "State":
        workers = list(self.workers)
        workers[index] = worker
        return self._replace(workers=tuple(workers))

    def spent(self, kind: str) -> "State":
        return self._replace(
            left=self.left._replace(**{kind: getattr(self.left, kind) - 1})
        )

    def has(self, *states: str) -> bool:
        return any(step.state in states for step in self.steps)

    def canonical(self) -> "State":
        """Return the same state with the workers, which are alike, in one order."""
        return self._replace(workers=tuple(sorted(self.workers)))


class Move(NamedTuple):
    actor: str
    name: str
    state: State


NO_GATE = {"asked": -1, "is_expired": False, "yes": ("", -1)}
"""The approval of a step that has none; an approver may still have the page of one."""
