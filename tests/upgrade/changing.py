"""A third party's skill whose code differs between the two releases.

The test replaces `RELEASE` in the copy that the previous release loads.
"""

import os
from pathlib import Path

from orchestration.skills.domain.contract import (
    ActionContract,
    EffectClass,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.handlers import handler
from orchestration.skills.domain.outcome import Call, Outcome, Succeeded

RELEASE = "new"


@handler("acme-changing.mark@1")
def mark(call: Call) -> Outcome:
    """Leave a mark in the witness file, and say which release's code did so."""
    with Path(call.config["witness"]).open("a") as out:
        out.write(f"{call.params['mark']}\n")
    return Succeeded(output={"mark": RELEASE})


SKILL = SkillContract(
    slug="acme-changing",
    version="1.0.0",
    name="Changing",
    description="Leaves marks.",
    config={"witness": os.environ.get("ACME_WITNESS", "")},
    config_schema={"type": "object"},
    actions=(
        ActionContract(
            name="mark",
            summary="Leave the mark {mark}.",
            handler="acme-changing.mark@1",
            input_schema={
                "type": "object",
                "properties": {"mark": {"type": "string"}},
            },
            output_schema={"type": "object"},
            effect_class=EffectClass.IDEMPOTENT,
            risk=Risk.LOW,
        ),
    ),
)
