"""A third party's skills, loaded by the previous release and by this one.

`ACME_RELEASE=2` is the newer delivery of the same party: its contracts have changed,
its code has not.
"""

import os
from dataclasses import replace
from pathlib import Path

from orchestration.skills.domain.contract import (
    ActionContract,
    EffectClass,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.handlers import handler
from orchestration.skills.domain.outcome import Call, Outcome, Succeeded


def _record(call: Call) -> Outcome:
    """Append one line to the witness file: the effect that the test counts."""
    with Path(call.config["witness"]).open("a") as out:
        out.write(f"{call.params['mark']}\n")
    return Succeeded(output={"mark": call.params["mark"]})


@handler("acme.steady@1")
def steady(call: Call) -> Outcome:
    """Leave a mark."""
    return _record(call)


MARK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["mark"],
    "properties": {"mark": {"type": "string"}},
}


def _action(name: str, **fields: object) -> ActionContract:
    return replace(
        ActionContract(
            name=name,
            summary="Leave the mark {mark}.",
            handler="acme.steady@1",
            input_schema=MARK,
            output_schema=MARK,
            effect_class=EffectClass.IDEMPOTENT,
            risk=Risk.LOW,
            timeout_s=30.0,
        ),
        **fields,
    )


def _skill(slug: str, *actions: ActionContract) -> SkillContract:
    return SkillContract(
        slug=slug,
        version="1.0.0",
        name=slug,
        description="Leaves marks.",
        actions=actions,
        config={"witness": os.environ.get("ACME_WITNESS", ""), "room": "shipped"},
        config_schema={"type": "object"},
    )


_ACTIONS = (
    _action("mark"),
    _action("asked", risk=Risk.HIGH),
    _action("raised"),
)
SKILLS = tuple(
    _skill(slug, *_ACTIONS)
    for slug in ("acme", "acme-plain", "acme-bad", "acme-old", "acme-taken")
)

if os.environ.get("ACME_RELEASE") == "2":
    _NEWER = (
        _action("mark", timeout_s=60.0, summary="Leave {mark} behind."),
        _action("asked", risk=Risk.HIGH),
        _action("raised", timeout_s=60.0),
        _action("added"),
    )
    SKILLS = tuple(
        replace(one, version="1.1.0", description="Leaves more marks.", actions=_NEWER)
        for one in SKILLS
    )
