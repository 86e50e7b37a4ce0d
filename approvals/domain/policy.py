"""The approvals that an action needs, by the policies in force."""

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
"""The rule that holds where no policy asks anybody: high risk needs one operator."""


@dataclass(frozen=True)
class ActionFacts:
    """The facts of an action that rules match."""

    skill: str
    action: str
    risk: str
    effect_class: str


@dataclass(frozen=True)
class Rule:
    """One published policy; a blank field matches anything."""

    name: str
    version: int
    order: int
    requirements: tuple[Requirement, ...]
    reason: str
    skill: str = ""
    action: str = ""
    risk_at_least: str = ""
    effect_class: str = ""
    expires_after_s: int | None = None

    @property
    def key(self) -> str:
        """Return the name and version, as in the audit log."""
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
        """Return True if a gate must open."""
        return bool(self.requirements)

    def also(self, requirements: Iterable[Requirement], *, reason: str) -> "Demand":
        """Add requirements from elsewhere, such as `approval` in a plan."""
        merged = seats.merge(self.requirements, requirements)
        return replace(self, requirements=merged, reasons=(*self.reasons, reason))


def matches(rule: Rule, facts: ActionFacts) -> bool:
    """Return True if a rule applies to an action."""
    return (
        rule.skill in {"", facts.skill}
        and rule.action in {"", facts.action}
        and rule.effect_class in {"", facts.effect_class}
        and (not rule.risk_at_least or _at_least(facts.risk, rule.risk_at_least))
    )


def demands(facts: ActionFacts, policies: Sequence[Rule]) -> Demand:
    """Merge the requirements of all policies that match an action.

    High and critical risk never go without a gate. A policy that matches says who is
    asked; where none does, one operator is.
    """
    matching = sorted(
        (rule for rule in policies if matches(rule, facts)),
        key=lambda rule: (rule.order, rule.name),
    )
    reasons = [rule.reason for rule in matching]
    if risk_reason := reason_of_risk(facts.skill, facts.action, facts.risk):
        reasons.insert(0, risk_reason)
    if not matching and risk_reason:
        return Demand((Requirement(DEFAULT_GROUP),), tuple(reasons), (DEFAULT_RULE,))
    limits = [rule.expires_after_s for rule in matching if rule.expires_after_s]
    return Demand(
        requirements=seats.merge(*(rule.requirements for rule in matching)),
        reasons=tuple(dict.fromkeys(reasons)),
        versions=tuple(rule.key for rule in matching),
        expires_after_s=min(limits, default=None),
    )


def needs_gate(risk: str) -> bool:
    """Return True for risks that never go without a gate: high and critical."""
    return _at_least(risk, Risk.HIGH)


def reason_of_risk(skill: str, action: str, risk: str) -> str:
    """Return why the risk of an action needs a gate; empty if it does not."""
    if not needs_gate(risk):
        return ""
    return f"The risk of {skill} {action} is {Risk.of(risk)}."


def _at_least(risk: str, least: str) -> bool:
    return Risk.of(risk).rank >= Risk.of(least).rank
