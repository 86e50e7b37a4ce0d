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
    """The effect of a change on safety; the lowest value is listed first."""

    LOOSER = 0  # allows more, or requires fewer approvals
    BREAKING = 1  # plans that were valid may no longer be
    STRICTER = 2
    NEUTRAL = 3


Change = tuple[str, Any, Any, Weight]
"""A field before and after, and the weight if it differs."""


@dataclass(frozen=True)
class Difference:
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
    for what, more, fewer in (
        ("allowed", Weight.LOOSER, Weight.STRICTER),
        ("forbidden", Weight.STRICTER, Weight.LOOSER),
    ):
        olds, news = getattr(before, what), getattr(after, what)
        for operation in (one for one in news if one not in olds):
            yield Difference(more, "", f"{what} operation added", None, operation)
        for operation in (one for one in olds if one not in news):
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
    yield from _schemas(before, after)
    for what, old, new, weight in (*_safeguards(before, after), *_rest(before, after)):
        if old != new:
            yield Difference(weight, name, what, _plain(old), _plain(new))


def _safeguards(before: ActionContract, after: ActionContract) -> Iterator[Change]:
    risk, other_risk = Risk(before.risk), Risk(after.risk)
    is_higher = other_risk.rank > risk.rank
    what = "risk raised" if is_higher else "risk lowered"
    yield what, str(risk), str(other_risk), _stricter(is_higher)
    order = list(EffectClass)
    effect, other_effect = before.effect_class, after.effect_class
    is_worse = order.index(other_effect) > order.index(effect)
    yield "effect class", str(effect), str(other_effect), _stricter(is_worse)
    yield "sandbox", before.sandboxed, after.sandboxed, _stricter(after.sandboxed)
    for what, old, new in (
        ("time limit in seconds", before.timeout_s, after.timeout_s),
        ("attempts", before.retry.attempts, after.retry.attempts),
        *(
            (title, getattr(before.limits, name), getattr(after.limits, name))
            for name, title in TITLES.items()
        ),
    ):
        yield what, old, new, _stricter(new < old)


def _rest(before: ActionContract, after: ActionContract) -> Iterator[Change]:
    for what, name, weight in (
        ("summary", "summary", Weight.NEUTRAL),
        ("code", "handler", Weight.LOOSER),
        ("undo", "undo", Weight.NEUTRAL if after.undo else Weight.LOOSER),
        ("undo params", "undo_params", Weight.NEUTRAL),
        ("dry run", "dry_run", Weight.NEUTRAL),
        ("secrets in the dry run", "dry_run_secrets", Weight.LOOSER),
        ("target check", "checks_target", Weight.NEUTRAL),
        ("probe", "probe", Weight.LOOSER),
        ("param for the probe", "probe_param", Weight.LOOSER),
        ("files", "files", Weight.BREAKING),
    ):
        yield what, getattr(before, name), getattr(after, name), weight
    pauses = [(r.backoff, r.initial_s, r.max_s) for r in (before.retry, after.retry)]
    if pauses[0] != pauses[1]:
        old, new = (f"{kind}, {lo} s to {hi} s" for kind, lo, hi in pauses)
        yield "back-off", old, new, Weight.NEUTRAL


def _stricter(is_stricter: bool) -> Weight:  # noqa: FBT001 - the question itself
    return Weight.STRICTER if is_stricter else Weight.LOOSER


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


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
