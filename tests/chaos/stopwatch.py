"""Measure by the test's own clock how long steps wait after a fault."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from orchestration.runs.domain.states import RunState, StepState
from orchestration.runs.models import StepRun

SAFE = ("pure", "idempotent")
AFTER_KILL, AFTER_WIPE = "kill", "wipe"
P = 0.99
Watched = tuple[str, UUID]


@dataclass
class Stopwatch:
    """From a fault until another worker starts the step."""

    _since: dict[Watched, tuple[float, int]] = field(default_factory=dict)
    """When each step was hit, and its fence then."""
    _seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def killed(self, pids: Iterable[int]) -> None:
        """Watch the steps that are safe to repeat, of processes that are killed now."""
        names = {str(pid) for pid in pids}
        running = StepRun.objects.filter(
            state=StepState.RUNNING, effect_class__in=SAFE, run__state=RunState.RUNNING
        )
        rows = running.values_list("id", "fence", "worker")
        self._watch(
            AFTER_KILL,
            [row[:2] for row in rows if row[2].rpartition(":")[2] in names],
        )

    def wiped(self) -> None:
        """Watch the steps whose hint is lost now."""
        ready = StepRun.objects.filter(
            state=StepState.READY, run__state=RunState.RUNNING
        )
        self._watch(AFTER_WIPE, ready.values_list("id", "fence"))

    def _watch(self, kind: str, rows: Iterable[tuple[UUID, int]]) -> None:
        now = time.monotonic()
        for step_id, fence in rows:
            self._since.setdefault((kind, step_id), (now, fence))

    def look(self) -> None:
        """Stop the time of the steps that have been started since."""
        ids = {step_id for _, step_id in self._since}
        steps = {
            step.id: step
            for step in StepRun.objects.filter(pk__in=ids).select_related("run")
        }
        now = time.monotonic()
        for (kind, step_id), (since, fence) in list(self._since.items()):
            step = steps[step_id]
            if step.fence > fence:
                self._seconds[kind].append(now - since)
            elif _still_waits(step):
                continue
            del self._since[kind, step_id]

    def report(self, kind: str) -> dict[str, Any]:
        """Return how many steps were measured, and their longest times."""
        return longest(self._seconds[kind])


def longest(seconds: Iterable[float]) -> dict[str, Any]:
    """Return how many times there are, and the longest of them."""
    ordered = sorted(seconds)
    if not ordered:
        return {"steps": 0, "p99_s": None, "most_s": None}
    p99 = ordered[min(int(P * len(ordered)), len(ordered) - 1)]
    return {
        "steps": len(ordered),
        "p99_s": round(p99, 1),
        "most_s": round(ordered[-1], 1),
    }


def _still_waits(step: StepRun) -> bool:
    """Return True unless the step ended, or its run waits for a person."""
    waiting = {StepState.READY, StepState.RUNNING}
    return step.state in waiting and step.run.state == RunState.RUNNING
