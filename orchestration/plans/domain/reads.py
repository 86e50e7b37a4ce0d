"""Find the steps whose values a step reads, in its references and conditions."""

from orchestration.plans.domain import conditions, references, waits
from orchestration.plans.domain.document import StepDocument


def steps_read_by(step: StepDocument) -> set[str]:
    """Return the ids of the steps that a step names; in conditions as CEL writes them."""
    asks = [each.reason for each in (step.approval, step.ask) if each is not None]
    key = step.event.key if step.event is not None else None
    times = [*waits.times_of(step).values()]
    values = [step.params, step.inputs, step.for_each, asks, key, times]
    found = {ref.step for ref in references.find(values) if ref.step}
    sources = [step.when, *(rule.condition or "" for rule in step.choose)]
    for name in (
        name for each in sources if each for name in conditions.names_of(each)
    ):
        if name.parts[0] == "steps" and len(name.parts) > 1:
            found.add(name.parts[1])
    return found
