"""Find the approvals that an action needs under the current policies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from approvals.domain import seats
from approvals.domain.seats import Requirement
from execfabric.lib.risk import Risk

EFFECT_CLASSES = ("pure", "idempotent", "probeable", "non_idempotent")
DEFAULT_GROUP = "operator"
UNSAID = "The plan requires this approval."
"""The reason of a gate that a plan requires without a reason of its own."""
DEFAULT_RULE = "default@1"
"""The rule that applies if no policy matches: high risk needs one operator."""


@dataclass(frozen=True)
class ActionFacts:
    skill: str
    action: str
    risk: str
    effect_class: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One version of a policy; a blank field matches anything."""

    name: str
    reason: str
    requirements: tuple[Requirement, ...]
    order: int = 100
    skill: str = ""
    action: str = ""
    risk_at_least: str = ""
    effect_class: str = ""
    expires_after_s: int | None = None
    version: int = 0
    """0 before it is published."""

    @property
    def key(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Demand:
    """The requirements of all matching rules; empty if no gate is needed."""

    requirements: tuple[Requirement, ...] = ()
    reasons: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    expires_after_s: int | None = None

    @property
    def needed(self) -> bool:
        return bool(self.requirements)

    def also(self, requirements: Iterable[Requirement], *, reason: str) -> "Demand":
        """Add requirements from elsewhere, such as `approval` in a plan."""
        merged = seats.merge(self.requirements, requirements)
        return replace(self, requirements=merged, reasons=(*self.reasons, reason))


def matches(rule: Rule, facts: ActionFacts) -> bool:
    return (
        rule.skill in {"", facts.skill}
        and rule.action in {"", facts.action}
        and rule.effect_class in {"", facts.effect_class}
        and (not rule.risk_at_least or _at_least(facts.risk, rule.risk_at_least))
    )


def demands(facts: ActionFacts, policies: Sequence[Rule]) -> Demand:
    """Merge the requirements of all policies that match an action.

    High and critical risk always need a gate. Matching policies name the approvers;
    if no policy matches, one operator must approve.
    """
    matching = [rule for rule in policies if matches(rule, facts)]
    has_gate = needs_gate(facts.risk)
    if not matching and not has_gate:
        return Demand()
    matching.sort(key=lambda rule: (rule.order, rule.name))
    reasons = [rule.reason for rule in matching]
    if has_gate:
        risk = Risk.of(facts.risk)
        reasons.insert(0, f"The risk of {facts.skill} {facts.action} is {risk}.")
        if not matching:
            default = (Requirement(DEFAULT_GROUP),)
            return Demand(default, tuple(reasons), (DEFAULT_RULE,))
    limits = [rule.expires_after_s for rule in matching if rule.expires_after_s]
    return Demand(
        requirements=seats.merge(*(rule.requirements for rule in matching)),
        reasons=tuple(dict.fromkeys(reasons)),
        versions=tuple(rule.key for rule in matching),
        expires_after_s=min(limits, default=None),
    )


def needs_gate(risk: str) -> bool:
    return _at_least(risk, Risk.HIGH)


def _at_least(risk: str, least: str) -> bool:
    return Risk.of(risk).rank >= Risk.of(least).rank
