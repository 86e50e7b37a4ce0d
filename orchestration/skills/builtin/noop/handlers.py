"""A skill that does nothing: for trying out plans, and for measuring the engine."""

from orchestration.skills.domain.contract import (
    ActionContract,
    DryRunKind,
    EffectClass,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.handlers import dry_run_of, handler
from orchestration.skills.domain.outcome import Call, DryRun, Outcome, Succeeded

PASS = "noop.pass@1"  # noqa: S105 - a handler's key

SKILL = SkillContract(
    slug="noop",
    version="1.0.0",
    name="No operation",
    description="Does nothing and hands on the value it is given.",
    domain="test",
    allowed=("Hand a value on unchanged.",),
    forbidden=("Touch anything.",),
    actions=(
        ActionContract(
            name="pass",
            summary="Do nothing and hand on the value.",
            handler=PASS,
            input_schema={
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "value": {
                        "title": "Value",
                        "description": "Any value; it becomes the output unchanged.",
                    }
                },
            },
            output_schema={
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "value": {
                        "title": "Value",
                        "description": "The value that was given, if one was.",
                    }
                },
            },
            effect_class=EffectClass.PURE,
            risk=Risk.LOW,
            timeout_s=30,
            dry_run=DryRunKind.SIMULATED,
        ),
    ),
)


@handler(PASS)
def hand_on(call: Call) -> Outcome:
    """Return the given value."""
    return Succeeded(output=dict(call.params))


@dry_run_of(PASS)
def preview(call: Call) -> DryRun:
    """Say that nothing happens."""
    return DryRun(summary="Does nothing.", output=dict(call.params))
