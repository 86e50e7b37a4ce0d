"""The published JSON Schema of plans, generated from the classes that read them.

`python -m orchestration.plans.domain.schema` prints it; a test compares it with the
published file.
"""

import json
import sys
from typing import Any

from pydantic import TypeAdapter
from pydantic.alias_generators import to_snake
from pydantic.dataclasses import dataclass

from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.domain.fields import CONFIG


@dataclass(frozen=True, config=CONFIG)
class PlanFile:
    """A plan under the key `plan`."""

    plan: PlanDocument


def published() -> dict[str, Any]:
    """Return the JSON Schema of plan files, with both spellings of each key."""
    schema = TypeAdapter(PlanFile | PlanDocument).json_schema()
    for part in schema["$defs"].values():
        properties = part["properties"]
        for key, item in [*properties.items()]:
            if (spelling := to_snake(key)) != key:
                note = f"Another spelling of `{key}`."
                properties[spelling] = {**item, "description": note}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "/schemas/plan/v1.json",
        "title": "ExecFabric plan, version 1",
        "description": (
            "The shape of a plan in YAML or JSON. Cycles, references and skills are"
            " checked when a plan is validated."
        ),
        **schema,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(published(), indent=2) + "\n")
