"""List the changes between two contracts: risks first, then weakened safeguards.

By hand and not with a library such as deepdiff: nearly all of it decides what a change
means for safety.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from orchestration.skills.domain.contract import (
    ActionContract,
    EffectClass,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.limits import TITLES


class Weight(IntEnum):
    """What a change means for safety; the smallest is listed first."""

    LOOSER = 0  # allows more, or requires fewer approvals
    BREAKING = 1  # plans that were valid may no longer be
    STRICTER = 2
    NEUTRAL = 3


@dataclass(frozen=True)
class Difference:
    """One change."""

    weight: Weight
    where: str
    """The action, or empty for the skill itself."""
    what: str
    before: Any
    after: Any


def between(before: SkillContract | None, after: SkillContract) -> list[Difference]:
    """Return all changes by weight. Without `before`, everything is new."""
    changes = list(_skill(before, after)) if before else []
    old = {action.name: action for action in before.actions} if before else {}
    new = {action.name: action for action in after.actions}
    for name in sorted(old.keys() | new.keys()):
        changes += _action(name, old.get(name), new.get(name))
    return sorted(changes, key=_urgency)


def weakened(before: SkillContract | None, after: SkillContract) -> list[Difference]:
    """Return the changes that weaken a safeguard; none without `before`."""
    if before is None:
        return []
    return [one for one in between(before, after) if one.weight is Weight.LOOSER]


def _urgency(one: Difference) -> tuple[bool, Weight, str, str]:
    """Sort changes of a risk first: they decide who must approve."""
    return (not one.what.startswith("risk "), one.weight, one.where, one.what)


def _skill(before: SkillContract, after: SkillContract) -> Iterator[Difference]:
    for what, old, new in (
        ("name", before.name, after.name),
        ("description", before.description, after.description),
        ("domain", before.domain, after.domain),
        ("config schema", before.config_schema, after.config_schema),
    ):
        if old != new:
            yield Difference(Weight.NEUTRAL, "", what, old, new)
    for key in sorted(before.config.keys() | after.config.keys()):
        had, has = before.config.get(key), after.config.get(key)
        if had != has:
            # A root, a host or a repository decides what the skill can reach.
            yield Difference(Weight.LOOSER, "", f"config {key}", had, has)
    yield from _operations("allowed", before.allowed, after.allowed, more=Weight.LOOSER)
    yield from _operations(
        "forbidden", before.forbidden, after.forbidden, more=Weight.STRICTER
    )


def _operations(
    what: str, before: tuple[str, ...], after: tuple[str, ...], *, more: Weight
) -> Iterator[Difference]:
    fewer = Weight.LOOSER if more is Weight.STRICTER else Weight.STRICTER
    for operation in after:
        if operation not in before:
            yield Difference(more, "", f"{what} operation added", None, operation)
    for operation in before:
        if operation not in after:
            yield Difference(fewer, "", f"{what} operation removed", operation, None)


def _action(
    name: str, before: ActionContract | None, after: ActionContract | None
) -> Iterator[Difference]:
    if after is None:
        yield Difference(Weight.BREAKING, name, "action removed", name, None)
        return
    if before is None:
        text = f"{after.summary} ({after.risk} risk, {after.effect_class})"
        yield Difference(Weight.LOOSER, name, "action added", None, text)
        return
    yield from _risk(before, after)
    yield from _limits(before, after)
    yield from _schemas(before, after)
    for what, old, new, weight in (
        ("summary", before.summary, after.summary, Weight.NEUTRAL),
        ("code", before.handler, after.handler, Weight.LOOSER),
        ("undo", before.undo, after.undo, _lost(before.undo, after.undo)),
        ("undo params", before.undo_params, after.undo_params, Weight.NEUTRAL),
        ("dry run", before.dry_run, after.dry_run, Weight.NEUTRAL),
        (
            "secrets in the dry run",
            before.dry_run_secrets,
            after.dry_run_secrets,
            Weight.LOOSER,
        ),
        ("target check", before.checks_target, after.checks_target, Weight.NEUTRAL),
        ("files", before.files, after.files, Weight.BREAKING),
    ):
        if old != new:
            yield Difference(weight, name, what, _plain(old), _plain(new))


def _risk(before: ActionContract, after: ActionContract) -> Iterator[Difference]:
    if before.risk != after.risk:
        falls = Risk(after.risk).rank < Risk(before.risk).rank
        what = "risk lowered" if falls else "risk raised"
        weight = Weight.LOOSER if falls else Weight.STRICTER
        yield Difference(weight, after.name, what, str(before.risk), str(after.risk))
    if before.effect_class != after.effect_class:
        order = list(EffectClass)
        falls = order.index(after.effect_class) < order.index(before.effect_class)
        weight = Weight.LOOSER if falls else Weight.STRICTER
        old, new = str(before.effect_class), str(after.effect_class)
        yield Difference(weight, after.name, "effect class", old, new)
    if before.sandboxed != after.sandboxed:
        weight = Weight.STRICTER if after.sandboxed else Weight.LOOSER
        yield Difference(
            weight, after.name, "sandbox", before.sandboxed, after.sandboxed
        )


def _limits(before: ActionContract, after: ActionContract) -> Iterator[Difference]:
    for what, old, new in (
        ("time limit in seconds", before.timeout_s, after.timeout_s),
        ("attempts", before.retry.attempts, after.retry.attempts),
        *(
            (title, getattr(before.limits, name), getattr(after.limits, name))
            for name, title in TITLES.items()
        ),
    ):
        if old != new:
            weight = Weight.LOOSER if new > old else Weight.STRICTER
            yield Difference(weight, after.name, what, old, new)
    pauses = [(r.backoff, r.initial_s, r.max_s) for r in (before.retry, after.retry)]
    if pauses[0] != pauses[1]:
        old_text, new_text = (f"{kind}, {lo} s to {hi} s" for kind, lo, hi in pauses)
        yield Difference(Weight.NEUTRAL, after.name, "back-off", old_text, new_text)


def _schemas(before: ActionContract, after: ActionContract) -> Iterator[Difference]:
    sides = (
        ("input", before.input_schema, after.input_schema),
        ("output", before.output_schema, after.output_schema),
    )
    for side, old, new in sides:
        had, has = _properties(old), _properties(new)
        if old != new and had == has and old.get("required") == new.get("required"):
            yield Difference(Weight.BREAKING, after.name, f"{side} schema", old, new)
        for name in sorted(had.keys() | has.keys()):
            if had.get(name) != has.get(name):
                # A new field breaks nothing; a changed or missing one may.
                weight = Weight.BREAKING if name in had else Weight.NEUTRAL
                what = f"{side} field {name}"
                yield Difference(weight, after.name, what, had.get(name), has.get(name))
        yield from _required(side, after.name, old, new)


def _required(
    side: str, action: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[Difference]:
    must, needs = set(old.get("required", ())), set(new.get("required", ()))
    more = Weight.BREAKING if side == "input" else Weight.STRICTER
    fewer = Weight.LOOSER if side == "input" else Weight.BREAKING
    for name in sorted(needs - must):
        yield Difference(more, action, f"{side} field {name} required", "no", "yes")
    for name in sorted(must - needs):
        yield Difference(fewer, action, f"{side} field {name} required", "yes", "no")


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = schema.get("properties", {})
    return properties if isinstance(properties, Mapping) else {}


def _lost(before: str, after: str) -> Weight:
    return Weight.LOOSER if before and not after else Weight.NEUTRAL


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
