"""Plan the rollback of a run, and begin it.

Each undo is a step run of its own. The exact action of all of them is known before the
first one runs, and an undo that would run another action does not start.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from execfabric.lib import canonical
from execfabric.lib.refusal import Refusal
from orchestration.plans.domain.undo import as_step, is_undo, undo_key_of, undo_of
from orchestration.runs import selectors
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.results import ABANDONED, KEPT
from orchestration.runs.domain.rollback import NOT_POSSIBLE, order_of
from orchestration.runs.domain.states import (
    WITH_OUTPUT,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.engine import ends, settled, specs
from orchestration.runs.engine.specs import Spec
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import (
    ContentChanged,
    NothingToUndo,
    RollbackTargetInvalid,
)
from orchestration.runs.models import StepRun
from orchestration.skills.domain.contract import EffectClass, SkillContract
from orchestration.skills.errors import ContractUnreadable

DOMAIN = "execfabric/rollback/v1"
UNDONE = frozenset({StepState.COMPENSATED})
UNFINISHED = (StepState.FAILED, StepState.CANCELLED)


@dataclass(frozen=True)
class StepUndo:
    """The undo of one step, with the exact action that it runs."""

    step: StepRun
    row: StepRun
    """Its step run, which may not be stored yet."""
    title: str
    skill: str
    action: str
    spec: Spec | None
    """None if it cannot be prepared."""
    reason: str = ""
    """Why it cannot run."""

    @property
    def params(self) -> Any:
        return self.spec.value["params"] if self.spec else None

    @property
    def needs_approval(self) -> bool:
        return bool(self.spec and self.spec.demand.needed)

    def as_fact(self) -> dict[str, Any]:
        fact = {
            "step": self.title,
            "step_run": str(self.step.id),
            "skill": self.skill,
            "action": self.action,
            "params": self.params,
            "needs_approval": self.needs_approval,
            "digest": self.spec.reuse_digest if self.spec else "",
        }
        return fact | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True)
class NotUndone:
    """A step with an effect that the rollback leaves as it is."""

    step: StepRun
    title: str
    reason: str

    def as_fact(self) -> dict[str, Any]:
        return {
            "step": self.title,
            "step_run": str(self.step.id),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Rollback:
    """What a rollback would do now, in the order in which it would run."""

    to: str
    """The step that stays, with all that completed before it; empty for none."""
    undos: tuple[StepUndo, ...]
    not_undone: tuple[NotUndone, ...]
    read_only: tuple[str, ...] = field(default=())
    """The steps without an effect: there is nothing to undo."""

    def as_fact(self) -> dict[str, Any]:
        return {
            "back_to": self.to,
            "undo": [each.as_fact() for each in self.undos],
            "not_undone": [each.as_fact() for each in self.not_undone],
        }

    @property
    def digest(self) -> str:
        """The digest of what is shown, which a confirmation carries."""
        return canonical.digest_of(DOMAIN, self.as_fact())


def plan_rollback(change: RunChange, *, to: str = "") -> Rollback:
    """Return what a rollback of the run would do now.

    :raises RollbackBlocked: when a step may still have an effect
    :raises RollbackTargetInvalid: when `to` is not a completed step
    :raises NothingToUndo: when no step has an undo that has not run
    :raises ContractUnreadable: when the contract of a step with an effect is unreadable
    """
    settled.require_settled(change)
    undos: list[StepUndo] = []
    not_undone: list[NotUndone] = []
    read_only: list[str] = []
    rows = _undo_rows(change)
    for step in _completed_after(change, to, rows):
        title = change.loaded.title(step)
        contract = _contract(change, step)
        if step.effect_class == EffectClass.PURE:
            read_only.append(title)
        elif step.reused_from_id is not None:
            reason = "It has the result of an earlier run. Roll back that run instead."
            not_undone.append(NotUndone(step, title, reason))
        elif _code(rows.get(step.id)) == ABANDONED:
            reason = "The outcome of its undo was abandoned: it may have taken effect."
            not_undone.append(NotUndone(step, title, reason))
        elif _code(rows.get(step.id)) == SKIPPED_BY_USER:
            reason = "A user skipped its undo."
            not_undone.append(NotUndone(step, title, reason))
        elif undo_of(change.plan_step(step), contract) is None:
            reason = "No undo is declared for it."
            not_undone.append(NotUndone(step, title, reason))
        else:
            undos.append(_undo(change, step, contract, rows))
    if not undos:
        raise NothingToUndo
    not_undone += _left_over(change)
    return Rollback(to, tuple(undos), tuple(not_undone), tuple(read_only))


def _code(undo: StepRun | None) -> str:
    return str((undo.error or {}).get("code", "")) if undo is not None else ""


def is_open(undo: StepRun) -> bool:
    """Return True for an undo that has not succeeded, and that no user has decided on."""
    is_decided = _code(undo) in {SKIPPED_BY_USER, ABANDONED, KEPT}
    return undo.state != StepState.SUCCEEDED and not is_decided


def _undo_rows(change: RunChange) -> dict[Any, StepRun]:
    """Return the undo steps that the run has, by the steps that they undo."""
    steps = change.steps.values()
    return {step.parent_id: step for step in steps if is_undo(step.key)}


def _completed_after(
    change: RunChange, to: str, rows: dict[Any, StepRun]
) -> list[StepRun]:
    """Return the steps to undo, the one that completed last first.

    A rollback that has stopped goes on with the steps that it began with, as long as one
    of their undos is left.
    """
    after = _target(change, to).completed_seq if to else 0
    is_left = any(map(is_open, rows.values()))
    goes_on = change.run.state == RunState.ROLLBACK_FAILED and not to and is_left
    found = [
        step
        for step in change.steps.values()
        if step.kind == "skill"
        and not is_undo(step.key)
        and not step.used_fallback
        and step.state in WITH_OUTPUT - UNDONE
        and (step.completed_seq is None or step.completed_seq > (after or 0))
        and (not goes_on or step.id in rows)
    ]
    return sorted(found, key=lambda step: order_of(step.completed_seq))


def _target(change: RunChange, to: str) -> StepRun:
    for step in change.steps.values():
        is_named = to in {str(step.id), change.loaded.title(step)}
        if is_named and not is_undo(step.key):
            if step.state in WITH_OUTPUT - UNDONE and step.completed_seq is not None:
                return step
            word = step.state.replace("_", " ")
            raise RollbackTargetInvalid(
                f"Cannot roll back to step '{to}': it is {word}. Choose a step that has"
                " succeeded.",
                step=to,
            )
    raise RollbackTargetInvalid(step=to)


def _contract(change: RunChange, step: StepRun) -> SkillContract:
    """Return the contract of a completed step of any effect class.

    :raises ContractUnreadable: when a newer release wrote it
    """
    pinned = change.loaded.pinned.get(change.loaded.pin(step).get("version_id", ""))
    if pinned is None:
        raise ContractUnreadable
    return pinned.contract


def _undo(
    change: RunChange, step: StepRun, contract: SkillContract, rows: dict[Any, StepRun]
) -> StepUndo:
    planned = as_step(change.plan_step(step), contract)
    row = rows.get(step.id) or _new_row(change, step, contract, planned.action)
    title, skill = change.loaded.title(step), planned.skill
    try:
        spec = specs.build(change, row)
    except ContractUnreadable:
        raise
    except Refusal as refusal:
        reason = f"Its undo cannot run: {refusal.message}"
        return StepUndo(step, row, title, skill, planned.action, None, reason)
    return StepUndo(step, row, title, skill, planned.action, spec)


def _new_row(
    change: RunChange, step: StepRun, contract: SkillContract, action_name: str
) -> StepRun:
    action = contract.action(action_name)
    return StepRun(
        run=change.run,
        key=undo_key_of(step.key),
        item=step.item,
        item_value=step.item_value,
        parent=step,
        position=len(change.steps),
        effect_class=str(action.effect_class) if action else "non_idempotent",
        max_attempts=action.retry.attempts if action else 1,
    )


def _left_over(change: RunChange) -> Iterator[NotUndone]:
    """Return the steps that did not succeed, but may have changed something.

    Their attempts say so: the error of a step is only that of its last one.
    """
    left = [
        step
        for step in change.steps.values()
        if step.kind == "skill"
        and step.effect_class != EffectClass.PURE
        and step.fence > 0
        and not is_undo(step.key)
        and (step.used_fallback or step.state not in WITH_OUTPUT)
        and (step.error or {}).get("code") != "step.did_not_happen"
    ]
    changed = selectors.that_may_have_run(change.run) if left else frozenset()
    for step in left:
        if step.id in changed:
            reason = "It did not succeed, but may have changed something."
            yield NotUndone(step, change.loaded.title(step), reason)


def begin(change: RunChange, rollback: Rollback, reason: str) -> None:
    """Begin a rollback: add its undo steps, or retry those of a stopped one."""
    known = [each for each in rollback.undos if each.row.id in change.steps]
    new = [each for each in rollback.undos if each.row.id not in change.steps]
    for place, each in enumerate(new, len(change.steps)):
        each.row.position = place
        each.row.reuse_digest = _content(each)
    fact = {**rollback.as_fact(), "preview": rollback.digest}
    kept = _kept(change, rollback) if rollback.to else {}
    change.begin_rollback([each.row for each in new], reason, fact, kept)
    for each in known:
        again(change, each.row, _content(each))
    for each in rollback.undos:
        if each.spec is None:
            ends.fail(change, each.row, NOT_POSSIBLE, each.reason)


def _kept(change: RunChange, rollback: Rollback) -> dict[UUID, dict[str, Any]]:
    """Return the new errors of the undos of a longer rollback that this one leaves out."""
    asked_for = {each.row.id for each in rollback.undos}
    message = f"It stays: the rollback went back to step {rollback.to}."
    return {
        row.id: {
            "code": KEPT,
            "message": message,
            "ran": (row.error or {}).get("ran"),
            "cause": row.error or {},
        }
        for row in change.steps.values()
        if is_undo(row.key) and row.id not in asked_for and is_open(row)
    }


def _content(undo: StepUndo) -> str:
    return undo.spec.reuse_digest if undo.spec else ""


def again(change: RunChange, row: StepRun, content: str) -> None:
    """Make an undo pending again that failed, or that was skipped because of it.

    `content` is the digest of the action that it runs.
    """
    columns: dict[str, Any] = {
        "generation": row.generation + 1,
        "tries": 0,
        "error": None,
        "spec_id": None,
        "gate_id": None,
        "not_before": None,
        "admitted_at": None,
        "reuse_digest": content,
    }
    is_skipped = row.state == StepState.SKIPPED
    event = StepEvent.REVIVED if is_skipped else StepEvent.RETRIED
    change.move_step(row, event, {"generation": columns["generation"]}, **columns)


def begin_automatic(change: RunChange, reason: str) -> None:
    """Begin the rollback that the plan asks for.

    If there is nothing to undo, the run ends. If something blocks the rollback, the run
    pauses; resuming it tries again.
    """
    change.require_lock()
    try:
        begin(change, plan_rollback(change), reason)
    except NothingToUndo as refusal:
        change.move_run(RunEvent.FAILED, f"{reason} {refusal.message}")
    except Refusal as refusal:
        change.move_run(RunEvent.PAUSE_REQUESTED, f"{reason} {refusal.message}")


def require_planned(step: StepRun, spec: Spec) -> None:
    """Check that an undo runs what was planned when the rollback began.

    :raises ContentChanged: when it does not
    """
    if is_undo(step.key) and spec.reuse_digest != step.reuse_digest:
        raise ContentChanged(
            "Cannot run the undo: its action has changed since the rollback began. This"
            " attempt did not run. Preview the rollback again, and continue it.",
            expected=step.reuse_digest,
            found=spec.reuse_digest,
        )
