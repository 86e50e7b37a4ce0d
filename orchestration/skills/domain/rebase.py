"""Decide how a newly shipped contract changes a skill that admins edited.

Three contracts are compared: the current one, the newly shipped one, and the shipped one
that the current version is based on. Changes by admins stay, everything else follows the
newly shipped contract, and no risk is lowered.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from execfabric.lib.risk import highest
from orchestration.skills.domain.contract import (
    ActionContract,
    EffectClass,
    SkillContract,
)
from orchestration.skills.domain.states import SkillState

ADMINS = frozenset(
    {"summary", "risk", "effect_class", "timeout_s", "retry", "undo", "limits"}
)
"""Fields of an action in which a change by an admin wins over a shipped change."""

Number = tuple[int, int, int]


class Then(StrEnum):
    """The ways to handle a shipped contract."""

    KEEP = "keep"  # it is already known, or older
    PUBLISH = "publish"  # no admin has changed anything: it becomes current
    DRAFT = "draft"  # an admin reviews it


@dataclass(frozen=True)
class ContractUpdate:
    """A decision, the contract to publish or draft, and notes for an admin."""

    then: Then
    contract: SkillContract | None = None
    notes: tuple[str, ...] = ()


def decide(
    *,
    current: SkillContract,
    shipped: SkillContract,
    base: SkillContract | None,
    state: SkillState,
    taken: Collection[str],
) -> ContractUpdate:
    """Decide what to do with a shipped contract.

    `base` is the shipped contract that the current version is based on, None if unknown;
    `taken` are the used version numbers.
    """
    if _is_same(shipped, base or current):
        return ContractUpdate(Then.KEEP)
    if base is not None and number_of(shipped.version) < number_of(base.version):
        note = f"This release ships {shipped.version}, which is older than the current"
        return ContractUpdate(Then.KEEP, notes=(f"{note} version's {base.version}.",))
    made = replace(
        rebased(current, shipped, base),
        version=free_number(current.version, shipped.version, taken),
    )
    is_customised = base is None or not _is_same(current, base)
    notes = [*_notes(current, shipped, made)]
    if state is not SkillState.ACTIVE:
        notes.insert(0, f"The skill stays {state}.")
        return ContractUpdate(Then.DRAFT, made, tuple(notes))
    then = Then.DRAFT if is_customised else Then.PUBLISH
    return ContractUpdate(then, made, tuple(notes))


def rebased(
    mine: SkillContract, shipped: SkillContract, base: SkillContract | None
) -> SkillContract:
    """Return the shipped contract with the changes of admins."""
    names = {action.name for action in shipped.actions}
    actions = tuple(
        _action(
            base.action(one.name) if base else None, mine.action(one.name), one, names
        )
        for one in shipped.actions
    )
    return replace(
        shipped,
        description=_picked(base, mine, shipped, "description", mine_wins=True),
        config=_config(base.config if base else {}, mine.config, shipped),
        allowed=_sentences(base, mine, shipped, "allowed"),
        forbidden=_sentences(base, mine, shipped, "forbidden"),
        actions=actions,
    )


def free_number(current: str, shipped: str, taken: Collection[str]) -> str:
    """Return an unused version number above the current one.

    It is the shipped number if possible, else the next free patch.
    """
    now, wanted = number_of(current), number_of(shipped)
    major, minor, patch = wanted if wanted > now else (now[0], now[1], now[2] + 1)
    while f"{major}.{minor}.{patch}" in taken:
        patch += 1
    return f"{major}.{minor}.{patch}"


def number_of(version: str) -> Number:
    """Return a version as comparable numbers; 0 for a part that is not a number."""
    parts = [int(part) if part.isdecimal() else 0 for part in version.split(".")]
    major, minor, patch, *_ = [*parts, 0, 0, 0]
    return major, minor, patch


def _is_same(one: SkillContract, other: SkillContract) -> bool:
    """Return True if two contracts only differ in their number."""
    return replace(one, version="") == replace(other, version="")


def _action(
    base: ActionContract | None,
    mine: ActionContract | None,
    shipped: ActionContract,
    names: Collection[str],
) -> ActionContract:
    if mine is None:
        return shipped
    merged: dict[str, Any] = {
        field.name: _picked(
            base, mine, shipped, field.name, mine_wins=field.name in ADMINS
        )
        for field in fields(ActionContract)
    }
    merged["risk"] = highest([mine.risk, shipped.risk])
    if base is None or mine.effect_class != base.effect_class:
        # The class whose repetition does more harm.
        classes = (mine.effect_class, shipped.effect_class)
        merged["effect_class"] = max(classes, key=list(EffectClass).index)
    merged["sandboxed"] = mine.sandboxed or shipped.sandboxed
    if merged["undo"] not in {"", *names}:  # the release removed the one of an admin
        merged["undo"] = shipped.undo
    return ActionContract(**merged)


def _picked(base: Any, mine: Any, shipped: Any, name: str, *, mine_wins: bool) -> Any:
    """Return the value of a field from the side that changed it."""
    ours, theirs = getattr(mine, name), getattr(shipped, name)
    if base is not None:
        before = getattr(base, name)
        if ours == before:
            return theirs
        if theirs == before and mine_wins:
            return ours
    return ours if mine_wins else theirs


def _config(
    base: Mapping[str, Any], mine: Mapping[str, Any], shipped: SkillContract
) -> dict[str, Any]:
    """Merge by key, without keys that the shipped schema does not have."""
    schema = shipped.config_schema
    is_open = schema.get("additionalProperties") is not False
    changed = {k: v for k, v in mine.items() if k not in base or v != base[k]}
    removed = base.keys() - mine.keys()
    return {
        key: value
        for key, value in {**shipped.config, **changed}.items()
        if key not in removed and (is_open or key in schema.get("properties", {}))
    }


def _sentences(
    base: SkillContract | None, mine: SkillContract, shipped: SkillContract, name: str
) -> tuple[str, ...]:
    """Return the list of an admin with the sentences that the new release added."""
    ours: tuple[str, ...] = getattr(mine, name)
    theirs: tuple[str, ...] = getattr(shipped, name)
    before: tuple[str, ...] = getattr(base, name) if base else ()
    if base is not None and ours == before:
        return theirs
    return (*ours, *(s for s in theirs if s not in before and s not in ours))


def _notes(
    current: SkillContract, shipped: SkillContract, made: SkillContract
) -> Iterator[str]:
    for action in current.actions:
        new, merged = shipped.action(action.name), made.action(action.name)
        if new is None or merged is None:
            yield f"The action {action.name} is removed."
            continue
        if new.handler != action.handler:
            yield f"{action.name} runs {new.handler} instead of {action.handler}."
        if new.input_schema != action.input_schema:
            yield f"The input of {action.name} has changed."
        if merged.risk != new.risk:
            yield f"The risk of {action.name} stays {merged.risk}. The shipped risk is {new.risk}."
    for key in sorted(set(current.config) - set(made.config)):
        yield f"The configuration key {key!r} is removed."
