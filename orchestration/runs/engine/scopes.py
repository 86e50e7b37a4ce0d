"""Collect what the references of a step resolve to: inputs, the run, earlier outputs.

Each output is compared with the digest that its worker recorded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from execfabric.lib import canonical
from orchestration.plans.domain import references, waits
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.iteration import names_of
from orchestration.plans.domain.undo import is_undo
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import WITH_OUTPUT, StepState
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ContentChanged
from orchestration.runs.models import SPEC_DOMAIN, ExecSpec, StepRun

ITEM_DOMAIN = "execfabric/item/v1"


def of_value(change: RunChange, step: StepRun, value: Any) -> references.Scope:
    """Return the scope of a value that no approval has fixed, such as a list."""
    scope = inside(change, change.loaded.around(step), value)
    return replace(scope, item=item_of(step, change.plan_step(step)))


def inside(change: RunChange, around: StepRun | None, value: Any) -> references.Scope:
    """Return the scope of a value in a sub-plan, or in the plan of the run if None."""
    heads = {ref.step for ref in references.find(value) if ref.step}
    return _scope(change, around, heads, {})


def inputs_of(change: RunChange, around: StepRun | None) -> dict[str, Any]:
    """Return the inputs of a sub-plan, or those of the run if `around` is None.

    :raises ContentChanged: when they do not match their recorded digest
    """
    if around is None:
        inputs: dict[str, Any] = change.run.inputs
        return inputs
    digest, known = str(around.spec_id), change.loaded.subplan_inputs
    if digest in change.subplan_inputs:
        return change.subplan_inputs[digest]
    if digest not in known:
        body = ExecSpec.objects.values_list("body", flat=True).filter(pk=digest).first()
        found = canonical.digest(SPEC_DOMAIN, bytes(body or b"")).hex()
        what = f"the stored input object of step '{around.label}'"
        check_digest(what, around, expected=digest, found=found)
        known[digest] = canonical.loads(bytes(body or b""))["inputs"]
    return known[digest]


def check_digest(what: str, step: StepRun, *, expected: str, found: str) -> None:
    """Check stored content against its recorded digest.

    :raises ContentChanged: when they differ
    """
    if found != expected:
        raise ContentChanged(
            f"Cannot start the step: {what} does not match its recorded digest. This"
            " attempt did not run.",
            step=step.key,
            expected=expected,
            found=found,
        )


def item_digest(value: Any) -> str:
    return canonical.digest_of(ITEM_DOMAIN, value)


def item_of(step: StepRun, planned: StepDocument) -> dict[str, Any]:
    """Return what the names of an item refer to; empty for a step without items.

    :raises ContentChanged: when the stored value does not match its digest
    """
    if step.item is None or planned.for_each is None:
        return {}
    stored = step.item_value or {}
    value, expected = stored.get("value"), str(stored.get("digest", ""))
    what = f"the stored value of item {step.item}"
    check_digest(what, step, expected=expected, found=item_digest(value))
    return dict(zip(names_of(planned), (value, step.item), strict=True))


def scope_of(
    change: RunChange, step: StepRun, planned: StepDocument
) -> references.Scope:
    """Return the scope of everything that an approval of a step covers."""
    refs = [*references.find(planned.params), *references.find(planned.inputs)]
    around = change.loaded.around(step)
    if planned.approval is not None:
        refs += references.find(planned.approval.reason)
    if planned.ask is not None:
        refs += references.find(planned.ask.reason)
    if planned.event is not None:
        refs += references.find(planned.event.key)
    refs += references.find([*waits.times_of(planned).values()])
    heads = {ref.step for ref in refs if ref.step}
    first = ""
    if (
        references.FIRST in heads
        and change.loaded.named(references.FIRST, around) is None
    ):
        first = _first_success(change, step, planned)
        heads.add(first)
    optional = any(ref.optional for ref in refs)
    absent = _absent_at_release(step) if optional else {}
    scope = _scope(change, around, heads, absent, first)
    scope = replace(scope, item=item_of(step, planned))
    return _of_undo(change, step, scope) if is_undo(step.key) else scope


def _of_undo(
    change: RunChange, undo: StepRun, scope: references.Scope
) -> references.Scope:
    """Add the step that is undone: `$self`, and its own id.

    :raises ContentChanged: when what is stored of it does not match its digests
    """
    owner = change.loaded.owner(undo)
    output, files = results_of(change, [owner])[owner.id]
    digest = str(owner.spec_id)
    body = ExecSpec.objects.values_list("body", flat=True).filter(pk=digest).first()
    found = canonical.digest(SPEC_DOMAIN, bytes(body or b"")).hex()
    what = f"the stored action of step '{owner.label}'"
    check_digest(what, owner, expected=digest, found=found)
    params = canonical.loads(bytes(body or b"")).get("params", {})
    return replace(
        scope,
        self_={"output": output, "params": params, "files": files},
        outputs={**scope.outputs, owner.key: output},
        files={**scope.files, owner.key: files},
    )


def _scope(
    change: RunChange,
    around: StepRun | None,
    heads: Iterable[str],
    absent_before: Mapping[str, str],
    first: str = "",
) -> references.Scope:
    named = (change.loaded.named(key, around) for key in sorted(heads))
    sources = [source for source in named if source]
    absent = {
        source.key: str(source.state)
        for source in sources
        if source.state not in WITH_OUTPUT
    } | dict(absent_before)
    present = [source for source in sources if source.key not in absent]
    results = results_of(change, present)
    return references.Scope(
        inputs=inputs_of(change, around),
        run={"id": str(change.run.id)},
        outputs={source.key: results[source.id][0] for source in present},
        files={source.key: results[source.id][1] for source in present},
        absent=absent,
        first=first,
    )


def _first_success(change: RunChange, step: StepRun, planned: StepDocument) -> str:
    """Return the parent that succeeded first, or ""."""
    counted = change.loaded.plan_of(step).counted(planned)
    around = change.loaded.around(step)
    parents = [change.loaded.named(key, around) for key in counted]
    # A parent that completes in this change has no place yet: it is the last.
    succeeded = [
        (each.completed_seq is None, each.completed_seq, each.position, each.key)
        for each in parents
        if each is not None and each.state == StepState.SUCCEEDED
    ]
    return min(succeeded)[-1] if succeeded else ""


def _absent_at_release(step: StepRun) -> dict[str, str]:
    """Return the parents that had no output when the step was released.

    A parent that finishes later must not change what was approved.
    """
    if step.spec_id is None or step.state == StepState.PENDING:
        return {}
    body = ExecSpec.objects.values_list("body", flat=True).get(pk=step.spec_id)
    absent: dict[str, str] = canonical.loads(bytes(body)).get("absent", {})
    return absent


def results_of(
    change: RunChange, sources: Sequence[StepRun]
) -> dict[UUID, tuple[Any, Any]]:
    """Return output and files of steps, each read and checked once in a change.

    :raises ContentChanged: when they do not match the recorded digest
    """
    checked = change.results
    new = [one for one in sources if (one.id, one.output_digest) not in checked]
    results = _read(new)
    for source in new:
        result, expected = results[source.id], source.output_digest
        digest = result_digest(*result) if expected else ""
        what = f"the stored output of step '{source.key}'"
        check_digest(what, source, expected=expected, found=digest)
        checked[source.id, expected] = result
    return {one.id: checked[one.id, one.output_digest] for one in sources}


def _read(sources: Sequence[StepRun]) -> dict[UUID, tuple[Any, Any]]:
    """Return output and files of steps, from their rows if they are not loaded."""
    results = {}
    missing = []
    for source in sources:
        held = source.__dict__
        if "output" in held:
            # Only attempts have files; a step added in this change has no row to read.
            results[source.id] = held["output"], held.get("files", {})
        else:
            missing.append(source.id)
    if missing:
        rows = StepRun.objects.filter(pk__in=missing)
        for step_run_id, output, files in rows.values_list("id", "output", "files"):
            results[step_run_id] = output, files
    return results
