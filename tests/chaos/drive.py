"""The chaos test itself: runs are proposed and approved while everything goes wrong."""

import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis
from django.contrib.auth.models import Group
from django.db.models import Q

from approvals.models import Gate
from audit.models import Event
from execfabric.identity.models import User
from execfabric.identity.people import ensure_roles
from execfabric.infra.disk import DiskFull
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.refusal import Conflict, Refusal
from execfabric.lib.rights import Role
from orchestration.runs.control import control, proposals, recovery, rollback
from orchestration.runs.domain.states import (
    FINAL_DRY_RUN,
    FINAL_RUN,
    PROCEEDING,
    RunState,
    StepState,
)
from orchestration.runs.models import Attempt, DryRun, Run, StepRun
from tests.builders import OPEN, decided
from tests.chaos import calm, invariants
from tests.chaos.crew import Crew
from tests.chaos.faults import Faults
from tests.chaos.plans import Made, is_container, is_odd, mark_of, random_plan
from tests.chaos.publisher import Publisher
from tests.chaos.stage import Stage
from tests.chaos.stopwatch import AFTER_KILL, AFTER_WIPE

KINDS = ("calls", "ends")
"""The files beside the witness: who was called, and who came to the end."""
ROLLED = (RunState.SUCCEEDED, RunState.ROLLBACK_FAILED)
"""States in which a run that is to be rolled back is not yet."""
TICK_S = 0.1
AGAIN_S = 1.0
"""Seconds between two tries to roll back, or to resume, the same run."""
FEWEST_KILLS = 8
AT_A_TIME = 2
"""Plans proposed in one tick, so that faults come often enough."""


@dataclass(frozen=True)
class Wanted:
    """How much of it."""

    runs: int
    seed: int
    workers: int
    concurrency: int
    keepers: int
    web: bool
    shifts: bool
    """True if half of the workers have a wrong clock."""
    at_once: int
    """How many runs are under way at the same time."""
    trials: int
    """How often each of two faults is tried alone in the end."""
    faults_s: float
    """How long things go wrong; on a slow machine until enough has gone wrong."""
    settle_s: float
    """How long the keeper may take in the end. Only a run that hangs needs it all."""


@dataclass
class Drive:
    """One chaos test on one stage.

    `_approve`, `_roll_back` and `_resolve` are what people do.
    """

    stage: Stage
    wanted: Wanted
    lease_s: float
    rng: random.Random = field(init=False)
    proposer: User = field(init=False)
    operator: User = field(init=False)
    publisher: Publisher = field(init=False)
    crew: Crew = field(init=False)
    plans: list[Made] = field(init=False)
    """What is still to be proposed."""
    undoable: dict[UUID, float] = field(default_factory=dict)
    """The runs that are to be rolled back, and when the operator tries next."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.wanted.seed)
        broker = redis.Redis.from_url(self.stage.endpoints.redis_url)
        self.publisher = Publisher(random.Random(f"{self.wanted.seed} hints"), broker)
        ensure_roles(by=system("test"), at=clock.now())
        self.proposer = person("proposer", Role.PROPOSER)
        self.operator = person("operator", Role.OPERATOR)

    def run(self) -> dict[str, Any]:
        """Do all of it; the report says what happened and what does not hold."""
        wanted = self.wanted
        self.plans = [random_plan(self.rng, n) for n in range(wanted.runs)]
        gated = sum(one.gated for one in self.plans)
        crew = Crew(
            self.stage,
            wanted.workers,
            wanted.concurrency,
            keepers=wanted.keepers,
            has_web=wanted.web,
            shifts=wanted.shifts,
        )
        faults = Faults(crew, wanted.seed, self.lease_s)
        started = time.monotonic()
        self.crew = crew
        try:
            crew.start()
            with self.publisher.multiplying():
                while not self._round() and not self._enough(faults, started):
                    faults.strike()
            struck = time.monotonic()
            faults.over()
            settled = self._settle()
            before = self._counts()
            unknown = self._unknown()
            resolved = self._resolve()
            self._settle()
            at_the_end, lines = self._counts(), self._lines()
            broken = invariants.violations(lines)
            alone = calm.figures(self, crew, wanted.trials) if wanted.trials else {}
        finally:
            faults.over()
            crew.stop()
        return {
            "seed": wanted.seed,
            "runs": wanted.runs,
            "gated_runs": gated,
            "faults": dict(faults.done),
            "hints": self.publisher.sent,
            "forged_hints": self.publisher.forged,
            "changes_of_runs": crew.proxy.changes(),
            "reclaimed_after_kill": faults.stopwatch.report(AFTER_KILL),
            "started_after_wipe": faults.stopwatch.report(AFTER_WIPE),
            "seconds_of_faults": round(struck - started, 1),
            "seconds_to_settle": round(settled, 1),
            "at_the_end_of_faults": before,
            "unknown_outcomes": unknown,
            "resolved_as_happened": resolved,
            "rollbacks": Event.objects.filter(kind="run.rollback_started").count(),
            "at_the_end": at_the_end,
            "alone": alone,
            "effects": len(lines),
            "repeated_effects_of_idempotent_steps": len(lines)
            - len({line.split()[0] for line in lines}),
            "violations": broken,
        }

    def _enough(self, faults: Faults, started: float) -> bool:
        """Whether the rest may run in peace."""
        long = time.monotonic() - started > self.wanted.faults_s
        return long and faults.done["kill"] >= FEWEST_KILLS

    def _round(self) -> bool:
        """One look as proposer, operator and publisher; True when all is over."""
        self.crew.renew()
        free = self.wanted.at_once - self._open().count()
        for _ in range(min(free, AT_A_TIME, len(self.plans))):
            # On a full disk it is refused, and proposed again later.
            with suppress(DiskFull):
                run = proposals.propose(
                    text=self.plans[-1].text,
                    inputs={},
                    by=self.proposer.actor(),
                    at=clock.now(),
                )
                if self.plans.pop().has_undo:
                    self.undoable[run.id] = 0.0
        self._approve()
        self._roll_back()
        ready = StepRun.objects.filter(state=StepState.READY, run__state__in=PROCEEDING)
        self.publisher.hint(list(ready.values_list("id", "fence")))
        time.sleep(TICK_S)
        return not self.plans and not self._open().exists()

    def _approve(self) -> None:
        """Approve whatever is asked, unless the run stopped in between.

        A plan is approved once a worker has ended its dry run.
        """
        unfinished = DryRun.objects.exclude(state__in=FINAL_DRY_RUN)
        pending = unfinished.filter(run__isnull=False).values("run_id")
        gates = Gate.objects.filter(status__in=OPEN)
        for gate in gates.exclude(context_id__in=pending):
            with suppress(Conflict):
                decided(gate, self.operator)

    def _roll_back(self) -> None:
        """Roll back what has succeeded, and go on where a rollback was stopped.

        It is refused while a lost attempt may still run, and tried again later.
        """
        now = time.monotonic()
        due = [run_id for run_id, next_s in self.undoable.items() if next_s <= now]
        for run in self._open().filter(id__in=due):
            by, at = self.operator.actor(), clock.now()
            with suppress(Refusal):
                if run.state == RunState.PAUSED:
                    control.resume(run_id=run.id, by=by, at=at)
                elif run.state in ROLLED:
                    self._confirm(run)
            self.undoable[run.id] = now + AGAIN_S

    def _confirm(self, run: Run) -> None:
        by, at = self.operator.actor(), clock.now()
        shown = rollback.preview(run_id=run.id, by=by, at=at)
        rollback.roll_back(
            run_id=run.id,
            by=by,
            at=at,
            reason="The chaos test wants it so.",
            digest=shown.digest,
        )

    def _open(self) -> Any:
        """Return the runs that are not finished and not waiting for an outcome."""
        asking = StepRun.objects.filter(state=StepState.INDETERMINATE)
        is_undoable = Q(id__in=self.undoable, state__in=ROLLED)
        is_over = Q(state__in=FINAL_RUN) & ~is_undoable
        stopped = Q(state__in=[RunState.PAUSED, RunState.ROLLBACK_FAILED])
        waits = stopped & Q(id__in=asking.values("run_id"))
        return Run.objects.exclude(is_over).exclude(waits)

    def _settle(self) -> float:
        """Wait without faults until nothing is open; return how long it took."""
        started = time.monotonic()
        while not self._round():
            if time.monotonic() - started > self.wanted.settle_s:
                break
        return time.monotonic() - started

    def _resolve(self) -> int:
        """Have the operator say what the witness file shows, and resume those runs."""
        seen = {line.split()[0] for line in self._lines()}
        unknown = StepRun.objects.filter(state=StepState.INDETERMINATE)
        found = [step for step in unknown if mark_of(step) in seen]
        at = clock.now()
        by = self.operator.actor()
        for step in found:
            recovery.resolve(
                step_run_id=step.id,
                happened=True,
                output={"mark": mark_of(step)},
                evidence="The witness file has its line.",
                by=by,
                at=at,
            )
        for step in found:
            run = Run.objects.get(id=step.run_id)
            if run.state == RunState.PAUSED:
                control.resume(run_id=run.id, by=by, at=at)
        return len(found)

    def _unknown(self) -> dict[str, Any]:
        """Classify the unknown outcomes by what their handlers wrote outside.

        Steps that end badly are left out: their outcome is unknown by their own doing.
        """
        steps = StepRun.objects.filter(state=StepState.INDETERMINATE)
        keys = {mark_of(step) for step in steps if not is_odd(step.key)}
        called, ended = (
            {line.split()[0] for line in self._lines(kind)} for kind in KINDS
        )
        effects = {line.split()[0] for line in self._lines()}
        return {
            "all": len(keys),
            "never_received": len(keys - called),
            "why_never_received": [
                _why(step) for step in steps if mark_of(step) in keys - called
            ],
            "received_without_effect": len(keys & called - effects),
            "with_effect_not_ended": len(keys & effects - ended),
            "ended": len(keys & ended),
            "percent_never_received": round(
                100 * len(keys - called) / max(1, len(keys)), 1
            ),
        }

    def _counts(self) -> dict[str, Any]:
        runs = Counter(Run.objects.values_list("state", flat=True))
        acting = [step for step in StepRun.objects.all() if not is_container(step)]
        steps = Counter(step.state for step in acting)
        phases = Counter(Attempt.objects.values_list("phase", flat=True))
        return {
            "runs": dict(runs),
            "steps": dict(steps),
            "attempts": dict(phases),
            "events": Event.objects.count(),
        }

    def _lines(self, kind: str = "") -> list[str]:
        witness = self.stage.witness
        path = witness.with_name(f"{witness.name}.{kind}") if kind else witness
        return path.read_text().splitlines() if path.exists() else []


def _why(step: StepRun) -> str:
    """Return what the record says of an attempt whose handler never was called."""
    last = step.attempts.get(fence=step.fence)
    lasted = (last.ended_at - last.started_at).total_seconds()
    code = (step.error or {}).get("code")
    return f"{mark_of(step)} {code} {last.phase} after {lasted:.3f} s by {last.worker}"


def person(name: str, role: Role) -> User:
    user = User.objects.create_user(name)
    user.groups.add(Group.objects.get(name=str(role)))
    return user
