"""What must hold after any faults, checked against the record and the witness file.

Each check returns sentences about what does not hold; no sentences is good.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.models import Count, Max

from approvals.models import Gate
from audit import selectors as record
from audit.models import Event, Stream
from orchestration.plans.domain.undo import SUFFIX, is_undo
from orchestration.runs.domain.states import (
    FINAL_RUN,
    Phase,
    RunState,
    StepState,
)
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.trace.services import streams
from tests.chaos.plans import UNDO, is_container, is_odd, mark_of

LOST = {"step.worker_lost", "step.runner_died"}
"""Why an outcome may be unknown of a handler that would have ended well."""
GIVEN_UP = {"step.attempts_exhausted", "step.runner_died"}
"""How a step may fail whose handler would have ended well: killed too often."""
DID = (StepState.SUCCEEDED, StepState.COMPENSATED, StepState.COMPENSATION_FAILED)
"""The states of a step that succeeded, undone or not."""
Lines = Sequence[str]


def every_run_is_final_or_waits_for_people(lines: Lines) -> Iterator[str]:
    """Check that a waiting run waits only for an unknown outcome."""
    for run in Run.objects.exclude(state__in=FINAL_RUN):
        if run.state != RunState.PAUSED or not _waits_for_people(run):
            yield f"run {run.id} is {run.state} ({run.reason})"
    for run in Run.objects.filter(state__in=FINAL_RUN).exclude(state="succeeded"):
        ends = {"failed", "partially_succeeded"} if _has_odd(run) else set()
        if run.steps.filter(key__endswith=SUFFIX).exists():
            ends = {"rolled_back"}
            if _waits_for_people(run):
                ends.add("rollback_failed")
        if run.state not in ends:
            yield f"run {run.id} ended {run.state} ({run.reason})"


def no_step_is_lost(lines: Lines) -> Iterator[str]:
    """Check that all steps of a successful run are done, and undone if rolled back."""
    for step in _steps():
        if step.run.state == RunState.SUCCEEDED and step.state != StepState.SUCCEEDED:
            yield f"{mark_of(step)} is {step.state} in a run that succeeded"
        if step.run.state != RunState.ROLLED_BACK:
            continue
        can_be_undone = not is_container(step) and step.effect_class != "pure"
        is_left = step.state == StepState.SUCCEEDED and not is_undo(step.key)
        if is_left and can_be_undone:
            yield f"{mark_of(step)} is not undone in a run that was rolled back"


def no_success_without_effect(lines: Lines) -> Iterator[str]:
    """Check that a step that succeeded has had its effect."""
    seen = {line.split()[0] for line in lines}
    for step in _acting():
        is_done = step.state in DID and step.effect_class != "pure"
        if is_done and mark_of(step) not in seen:
            yield f"{mark_of(step)} succeeded without its effect"
        is_undone = step.state == StepState.COMPENSATED
        if is_undone and not is_container(step) and UNDO + mark_of(step) not in seen:
            yield f"{mark_of(step)} is undone without an effect of its undo"


def no_effect_happens_twice(lines: Lines) -> Iterator[str]:
    """Of a step that may not run twice; any other repeats under one key only."""
    counts = Counter(line.split()[0] for line in lines)
    keys = defaultdict(set)
    for line in lines:
        mark, key = line.split()
        keys[mark].add(key)
    for step in _acting():
        mark = mark_of(step)
        if _is_once(step) and counts[mark] > 1:
            yield f"{mark} had its effect {counts[mark]} times"
        if len(keys[mark]) > 1:
            yield f"{mark} used {len(keys[mark])} idempotency keys"


def no_effect_without_intent_and_approval(lines: Lines) -> Iterator[str]:
    """Whatever the world shows was approved, and announced in the record before."""
    attempts = Attempt.objects.filter(intent_at__isnull=False)
    intended = {mark_of(a.step_run) for a in attempts.select_related("step_run")}
    approved = set(
        Gate.objects.filter(status="approved").values_list("context_id", "step")
    )
    by_mark = {mark_of(step): step for step in _acting()}
    for mark in {line.split()[0] for line in lines}:
        step = by_mark[mark]
        if mark not in intended:
            yield f"{mark} had an effect without intent"
        if (step.run_id, "") not in approved:
            yield f"{mark} had an effect in a run that nobody approved"
        if step.gate_id is not None and (step.run_id, mark) not in approved:
            yield f"{mark} had an effect before its gate was approved"


def no_effect_is_recorded_as_nothing_ran(lines: Lines) -> Iterator[str]:
    """Where the world shows the effect of a step that runs once, no error denies it."""
    seen = {line.split()[0] for line in lines}
    for step in _acting():
        is_denied = step.error is not None and step.error.get("ran") is False
        if mark_of(step) in seen and is_denied and _is_once(step):
            yield f"{step.key} had its effect and says {step.error}"


def no_known_result_is_lost(lines: Lines) -> Iterator[str]:
    """Check that a handler that ended well succeeded, unless its worker was killed."""
    for step in _acting():
        if step.error is None:
            continue
        if is_odd(step.key) or step.state == StepState.SKIPPED:
            continue
        code = step.error.get("code")
        if step.state == StepState.FAILED and code not in GIVEN_UP:
            yield f"{step.key} failed: {step.error}"
        if step.state == StepState.INDETERMINATE and code not in LOST:
            yield f"{step.key} is unknown: {step.error}"


def a_bad_end_is_no_success(lines: Lines) -> Iterator[str]:
    """Check that a step that failed has an error code or an unknown outcome."""
    for step in _steps():
        ended_well = step.attempts.filter(phase=Phase.DONE).exists()
        if is_odd(step.key) and ended_well:
            yield f"{step.key} succeeded"


def only_an_intent_leaves_an_unknown_outcome(lines: Lines) -> Iterator[str]:
    """Check that a worker that died before its intent has done nothing."""
    for step in StepRun.objects.filter(state=StepState.INDETERMINATE):
        last = step.attempts.get(fence=step.fence)
        phases = {Phase.LOST, Phase.FAILED}
        if last.intent_at is None or last.phase not in phases:
            yield f"{step.key} is indeterminate, its attempt is {last.phase}"
        if step.effect_class in {"pure", "idempotent"}:
            yield f"{step.key} is indeterminate though {step.effect_class}"


def every_stream_verifies(lines: Lines) -> Iterator[str]:
    """Every event is there, unchanged, in its place, and the tables say the same."""
    for found in streams.verify_all():
        if found.broken is not None:
            yield f"{found.stream} is broken at {found.broken.seq}"
        yield from map(str, found.differences)
    heads = dict(Stream.objects.values_list("key", "last_seq"))
    counted = Event.objects.values("stream_id").annotate(n=Count("seq"), top=Max("seq"))
    for row in counted:
        if not row["n"] == row["top"] == heads[row["stream_id"]]:
            yield f"{row['stream_id']} has gaps"


def every_transition_has_one_event(lines: Lines) -> Iterator[str]:
    """Replaying the events from the start leads to exactly the states in the tables."""
    for run in Run.objects.prefetch_related("steps"):
        told = {_RUN: str(RunState.AWAITING_APPROVAL)}
        told |= {_place(step): str(StepState.PENDING) for step in run.steps.all()}
        for event in record.events_after(run.stream, 0, limit=100_000):
            payload = record.envelope(event)["payload"]
            if not event.kind.startswith(("run.", "step.")) or "from" not in payload:
                continue
            place = event.step, payload.get("item")
            if payload["from"] != told[place]:
                yield f"{event}: from {payload['from']}, but it was {told[place]}"
            told[place] = payload["to"]
        now = {_RUN: run.state} | {_place(s): s.state for s in run.steps.all()}
        if told != now:
            yield f"run {run.id}: the record says {told}, the tables {now}"


def every_claim_is_one_attempt_with_one_end(lines: Lines) -> Iterator[str]:
    """Fences rise one by one, one attempt per fence, at most one of them done."""
    claims, resolved = (
        Counter(map(_subject, Event.objects.filter(kind=kind)))
        for kind in ("step.started", "step.resolved")
    )
    for step in _acting():
        subject = step.run.stream, *_place(step)
        attempts = list(step.attempts.order_by("fence"))
        fences = [attempt.fence for attempt in attempts]
        if fences != list(range(1, len(fences) + 1)) or step.fence != len(fences):
            yield f"{step.key} has the fences {fences}, its own is {step.fence}"
        if claims[subject] != len(fences):
            yield f"{mark_of(step)} was claimed {claims[subject]} times"
        done = sum(attempt.phase == Phase.DONE for attempt in attempts)
        people_said_so = bool(resolved[subject])
        if done + people_said_so != (step.state in DID):
            yield f"{step.key} is {step.state} with {done} attempts done"
        if any(a.ended_at is None for a in attempts) and step.state != "running":
            yield f"{step.key} is {step.state} and has a live attempt"


def undos_run_in_reverse_order(lines: Lines) -> Iterator[str]:
    """Check that what completed last was undone first, and only what had completed."""
    marks = dict.fromkeys(line.split()[0] for line in lines)
    first_at = {mark: at for at, mark in enumerate(marks)}
    by_run = defaultdict(list)
    for step in _acting():
        at = first_at.get(UNDO + mark_of(step))
        if at is None:
            continue
        if step.state not in DID or step.completed_seq is None:
            yield f"{mark_of(step)} is {step.state}, and was undone"
        else:
            by_run[step.run_id].append((at, step.completed_seq, mark_of(step)))
    for undone in by_run.values():
        order = [seq for _, seq, _ in sorted(undone)]
        if order != sorted(order, reverse=True):
            yield f"undone out of order: {sorted(undone)}"


CHECKS: tuple[Callable[[Lines], Iterator[str]], ...] = (
    every_run_is_final_or_waits_for_people,
    no_step_is_lost,
    no_success_without_effect,
    no_effect_happens_twice,
    no_effect_without_intent_and_approval,
    no_effect_is_recorded_as_nothing_ran,
    no_known_result_is_lost,
    a_bad_end_is_no_success,
    only_an_intent_leaves_an_unknown_outcome,
    every_stream_verifies,
    every_transition_has_one_event,
    every_claim_is_one_attempt_with_one_end,
    undos_run_in_reverse_order,
)


def violations(lines: Lines) -> dict[str, list[str]]:
    """Per check what does not hold."""
    return {check.__name__: list(check(lines)) for check in CHECKS}


_RUN = ("", None)
"""The place of a run among its steps."""


def _place(step: StepRun) -> tuple[str, int | None]:
    return step.key, step.item


def _subject(event: Event) -> tuple[str, str, int | None]:
    """Return the step run that an event is about: stream, step and item."""
    payload = record.envelope(event)["payload"]
    return str(event.stream_id), event.step, payload.get("item")


def _steps() -> Any:
    return StepRun.objects.select_related("run", "run__revision")


def _acting() -> list[StepRun]:
    """Return the step runs that may have an effect: all but those that have items."""
    return [step for step in _steps() if not is_container(step)]


def _has_odd(run: Run) -> bool:
    return any(is_odd(step.key) for step in run.steps.all())


def _is_once(step: StepRun) -> bool:
    """Return True if its effect may happen only once."""
    return step.effect_class == "non_idempotent"


def _waits_for_people(run: Run) -> bool:
    return run.steps.filter(state=StepState.INDETERMINATE).exists()
