"""Build plans that run saved plans."""

from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans.models import PlanRevision
from orchestration.plans.services import saving
from orchestration.runs.models import Run, StepRun
from tests.builders import (
    plan,
    step,
)

INPUTS = {"properties": {"word": {"type": "string"}}, "required": ["word"]}


def inner(*steps: dict, **fields: object) -> str:
    steps = steps or (
        step("make", params={"value": "$inputs.word"}),
        step("again", after="make", params={"value": "$make.output.value!"}),
    )
    made = {
        "inputs": INPUTS,
        "outputs": {"said": "$again.output.value", "by": "$inputs.word"},
    }
    return plan(*steps, id="inner", name="Inner plan", **made | fields)


def uses(key: str = "sub", word: object = "hello", **fields: object) -> dict:
    return {
        "id": key,
        "kind": "plan",
        "plan": "inner",
        "inputs": {"word": word},
        **fields,
    }


OUTER = plan(
    step("first", params={"value": "hello"}),
    uses(word="$first.output.value", dependsOn=["first"]),
    step("make", after="sub", params={"value": "$sub.output.said and $sub.output.by"}),
    outputs={"final": "$make.output.value", "inner": "$sub.output"},
)


def save(text: str, by: User) -> PlanRevision:
    return saving.save_plan(text=text, by=by.actor(), at=clock.now())


def paths(run: Run) -> dict[str, str]:
    """Return the state of each step run by its path."""
    rows = {row.pk: row for row in run.steps.order_by("position")}

    def path(row: StepRun) -> str:
        if row.parent_id is None:
            return row.key
        parent = rows[row.parent_id]
        return path(parent) + (
            f"[{row.item}]" if row.item is not None else f"/{row.key}"
        )

    return {path(row): row.state for row in rows.values()}
