"""A handler that says when it began: the only honest end of "from gate to start"."""

import time
from typing import Any

from orchestration.skills.domain.contract import (
    ActionContract,
    EffectClass,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.handlers import handler
from orchestration.skills.domain.outcome import Call, Outcome, Succeeded

ANY: dict[str, Any] = {"type": "object"}


@handler("bench.clock@1")
def clock(call: Call) -> Outcome:
    """Return the time of its first instruction."""
    return Succeeded(output={"at": time.time()})


SKILL = SkillContract(
    slug="bench",
    version="1.0.0",
    name="Benchmark",
    description="Actions that only the benchmark uses.",
    domain="test",
    actions=(
        ActionContract(
            name="clock",
            summary="Say when it began.",
            handler="bench.clock@1",
            input_schema=ANY,
            output_schema=ANY,
            effect_class=EffectClass.PURE,
            risk=Risk.HIGH,
            timeout_s=30.0,
        ),
    ),
)
