"""The kinds of steps, and the keys that each of them has."""

from typing import Literal

from orchestration.plans.domain.asking import FORM_KEYS
from orchestration.plans.domain.iteration import ITEM_KEYS
from orchestration.plans.domain.waits import WAIT_KEYS

Kind = Literal["skill", "approval", "choose", "wait", "input", "plan"]
SKILL_KEYS = (
    "skill",
    "action",
    "version",
    "rollback",
    "retry",
    "timeout",
    "fallback",
    "concurrency",
)
EACH_KEYS = ("forEach", *ITEM_KEYS)
PLAN_STEP_KEYS = ("plan", "inputs")
_ACTING = (*SKILL_KEYS, "params", "approval")
FOREIGN_KEYS = {
    "skill": ("choose", *WAIT_KEYS, *FORM_KEYS, *PLAN_STEP_KEYS),
    "approval": (*SKILL_KEYS, "choose", *WAIT_KEYS, *FORM_KEYS, *PLAN_STEP_KEYS),
    "choose": (
        *_ACTING,
        "sla",
        *EACH_KEYS,
        *WAIT_KEYS,
        *FORM_KEYS,
        *PLAN_STEP_KEYS,
    ),
    "wait": (*_ACTING, "choose", *EACH_KEYS, *FORM_KEYS, *PLAN_STEP_KEYS),
    "input": (*_ACTING, "choose", *EACH_KEYS, *WAIT_KEYS, *PLAN_STEP_KEYS),
    "plan": (*_ACTING, "choose", *WAIT_KEYS, *FORM_KEYS),
}
"""The keys that a step of a kind does not have."""
OWN_KEYS = {
    "skill": ("skill", "action"),
    "approval": (),
    "choose": ("choose",),
    "wait": (),
    "input": ("form",),
    "plan": ("plan",),
}
"""The keys that a step of a kind must have."""
