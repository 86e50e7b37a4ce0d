"""Say what a run really does: what it waits for, how far it is, how long it worked.

Everything is derived from rows when it is read; nothing here is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from execfabric.lib.clock import duration_text
from orchestration.runs.domain.states import (
    FINAL_RUN,
    STOPPING_RUN,
    RunState,
    StepState,
)


class WaitKind(StrEnum):
    """What a run waits for; the first of several is named in its status."""

    OUTCOME = "outcome"  # a user who resolves an unknown outcome
    FAILURE = "failure"  # a user who acts on a failed step
    RESUME = "resume"  # a user who resumes the paused run
    APPROVAL = "approval"  # the approvals of some groups
    ANSWER = "answer"  # the answer to a form
    EVENT = "event"  # an event of another system
    TIME = "time"  # a time
    PROBE = "probe"  # a probe that asks whether a step happened
    RETRY = "retry"  # the next attempt, at a time
    PLACE = "place"  # a place for its concurrency key
    WORKER = "worker"  # a free worker


FOR_PEOPLE = frozenset(
    {
        WaitKind.OUTCOME,
        WaitKind.FAILURE,
        WaitKind.RESUME,
        WaitKind.APPROVAL,
        WaitKind.ANSWER,
    }
)
"""The waits that only a user can end."""
WAIT_WORDS = {
    WaitKind.APPROVAL: "An approval",
    WaitKind.ANSWER: "An answer to a form",
    WaitKind.FAILURE: "A user, after a failure",
    WaitKind.OUTCOME: "A user, outcome unknown",
    WaitKind.RESUME: "A user who resumes it",
    WaitKind.EVENT: "An event",
    WaitKind.TIME: "A time",
    WaitKind.PROBE: "A check whether it happened",
    WaitKind.RETRY: "The next attempt",
    WaitKind.PLACE: "A place for its key",
    WaitKind.WORKER: "A worker",
}
"""The words of the filter in lists of runs."""
_ORDER = {kind: number for number, kind in enumerate(WaitKind)}
_VOWELS = frozenset("aeiou")


@dataclass(frozen=True, kw_only=True)
class WaitingFor:
    """Something that a run waits for."""

    kind: WaitKind
    step: str = ""
    """The label of the step; empty for the run or its plan."""
    groups: tuple[tuple[str, int], ...] = ()
    """For an approval, the groups and how many of each must still approve."""
    name: str = ""
    """The concurrency key, or the event."""
    run: str = ""
    """The id of the run that holds the place."""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def text(self) -> str:
        """Return a sentence without a full stop; `since` is not in it."""
        values = {
            "step": f"step “{self.step}”",
            "approvals": _approvals(self.groups),
            "name": self.name,
            "until": _moment(self.until),
            "place": f"run {self.run} to release" if self.run else "a place with",
        }
        return _TEXTS[self.kind].format_map(values)


_TEXTS = {
    WaitKind.OUTCOME: "Waiting for a user to resolve the outcome of {step}",
    WaitKind.FAILURE: "Waiting for a user to act on the failed {step}",
    WaitKind.RESUME: "Waiting for a user to resume it",
    WaitKind.APPROVAL: "Waiting for {approvals}",
    WaitKind.ANSWER: "Waiting for an answer in {step}",
    WaitKind.EVENT: "Waiting for {name}",
    WaitKind.TIME: "Waiting until {until}",
    WaitKind.PROBE: "Checking whether {step} happened",
    WaitKind.RETRY: "Waiting to retry {step} at {until}",
    WaitKind.PLACE: "Waiting for {place} the key “{name}”",
    WaitKind.WORKER: "Waiting for a worker to start {step}",
}


def _approvals(groups: Sequence[tuple[str, int]]) -> str:
    """Name the groups whose approval is missing: `an operator and 2 admins`."""
    names = [
        f"{_article(group)} {group}" if count == 1 else f"{count} of group {group}"
        for group, count in groups
    ]
    return " and ".join(names) or "approval"


def _article(word: str) -> str:
    return "an" if word[:1].lower() in _VOWELS else "a"


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "an unknown time"


@dataclass(frozen=True)
class StepCounts:
    """The steps of a plan per state; items of lists and steps of sub-plans do not count."""

    states: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def done(self) -> int:
        return self.states.get(StepState.SUCCEEDED, 0)

    def named(self) -> dict[str, int]:
        """Return the counts by name, for the API."""
        parts = {str(state): self.states.get(state, 0) for state in _COUNTED}
        return {"total": self.total, "done": self.done, **parts}

    def words(self, noun: str = "") -> str:
        """Return the progress as text: `3 of 4 done, 1 failed`."""
        plural = "" if self.total == 1 else "s"
        what = f" {noun}{plural}" if noun else ""
        others = [
            f"{self.states[state]} {state.replace('_', ' ')}"
            for state in _COUNTED
            if self.states.get(state)
        ]
        return ", ".join([f"{self.done} of {self.total}{what} done", *others])


_COUNTED = (
    StepState.FAILED,
    StepState.SKIPPED,
    StepState.SKIPPED_BY_CONDITION,
    StepState.REJECTED,
    StepState.CANCELLED,
    StepState.COMPENSATED,
    StepState.COMPENSATION_FAILED,
)


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is stored of a run that decides what it does now."""

    state: RunState
    proposed_at: datetime
    finished_at: datetime | None
    counts: StepCounts
    waits: Sequence[WaitingFor]
    running: Sequence[tuple[str, datetime | None]]
    """The first running steps, and since when."""
    running_count: int
    worked_s: float
    """Seconds in which at least one step was running."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What a run does now, in words and in numbers."""

    lead: str
    """What it does now, without its duration and without a full stop."""
    since: datetime | None
    """Since when; None if that is unknown, or if the run has ended."""
    waiting_for: tuple[WaitingFor, ...]
    """All that it waits for, the most important first."""
    counts: StepCounts
    worked_s: float
    waited_s: float
    """Seconds since the proposal in which no step was running."""
    at: datetime

    @property
    def rest(self) -> str:
        """Return the progress and the working time: `3 of 4 done, 1.1 s of work`."""
        work = [f"{duration_text(self.worked_s)} of work"] if self.worked_s else []
        return ", ".join([self.counts.words(), *work])

    @property
    def sentence(self) -> str:
        """Return all of it in one sentence."""
        lasted = ""
        if self.since is not None:
            lasted = f" for {duration_text((self.at - self.since).total_seconds())}"
        return f"{self.lead}{lasted}, {self.rest}."

    @property
    def waited(self) -> str:
        return duration_text(self.waited_s)

    @property
    def worked(self) -> str:
        return duration_text(self.worked_s)


def status_of(facts: RunFacts, *, at: datetime) -> RunStatus:
    """Return what a run does now."""
    is_over = facts.state in FINAL_RUN
    waits = () if is_over else tuple(sorted(facts.waits, key=_by_importance))
    lead, since = _lead(facts, waits)
    end = facts.finished_at or at
    elapsed = (end - facts.proposed_at).total_seconds()
    return RunStatus(
        lead=lead,
        since=since,
        waiting_for=waits,
        counts=facts.counts,
        worked_s=facts.worked_s,
        waited_s=max(0.0, elapsed - facts.worked_s),
        at=at,
    )


def _by_importance(wait: WaitingFor) -> tuple[int, str]:
    return _ORDER[wait.kind], wait.step


def _lead(facts: RunFacts, waits: Sequence[WaitingFor]) -> tuple[str, datetime | None]:
    if facts.state in FINAL_RUN:
        return facts.state.replace("_", " ").capitalize(), None
    if facts.running_count:
        return _running(facts, waits)
    if not waits:
        return facts.state.replace("_", " ").capitalize(), None
    first, *others = waits
    more = f" and {len(others)} more" if others else ""
    # "Waiting until noon for 3 min" would be no sentence.
    since = None if first.kind is WaitKind.TIME else first.since
    return f"{first.text}{more}", since


def _running(
    facts: RunFacts, waits: Sequence[WaitingFor]
) -> tuple[str, datetime | None]:
    """Name the running step, and what a user has to do meanwhile."""
    label, since = facts.running[0] if facts.running else ("", None)
    many = f"{facts.running_count} steps"
    what = f"step “{label}”" if facts.running_count == 1 else many
    if facts.state in STOPPING_RUN:
        verb = "finishes" if facts.running_count == 1 else "finish"
        return f"{facts.state.capitalize()}: {what} {verb} first", since
    asked = [wait for wait in waits if wait.kind in FOR_PEOPLE]
    also = f", {asked[0].text[0].lower()}{asked[0].text[1:]}" if asked else ""
    return f"Running {what}{also}", None if asked else since


def shown_state(run: RunState, steps: frozenset[str]) -> str:
    """Return the state to show of a run whose steps are in these states.

    A running run that only waits is shown as what it waits for.
    """
    if run is not RunState.RUNNING or steps & MOVING:
        return str(run)
    return next((str(state) for state in ONLY_WAITS if state in steps), str(run))


MOVING = frozenset({StepState.READY, StepState.RUNNING})
"""States of steps by which a run does more than wait."""
ONLY_WAITS = (
    StepState.GATED,
    StepState.BACKOFF,
    StepState.WAITING,
    StepState.QUEUED,
)
"""States of steps that a run without a moving step is shown as, the first one found."""
