"""Let a step of a rerun take an earlier result instead of running.

Decided when the step is released: its exact parameters are known then. Everything that
determines its result must be as it was, and the stored result as it was recorded.
"""

from typing import Any
from uuid import UUID

from execfabric.infra import database
from execfabric.lib.canonical import NotCanonical
from orchestration.runs.domain.files import returned_files
from orchestration.runs.domain.outcome import may_rerun
from orchestration.runs.domain.reruns import runs_again
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import FINAL_RUN, StepEvent
from orchestration.runs.engine import artifacts, specs
from orchestration.runs.engine.specs import Spec
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import ArtifactUnreadable
from orchestration.runs.models import Artifact, StepRun

_ENDED = sorted(map(str, FINAL_RUN))
# `origin` is the step that ran: a rerun may itself have reused its result. The lock keeps
# an undo from starting meanwhile; it is shared, as reruns take it in any order. An item
# may have another index than before, and each result is reused once.
_SOURCE = """
SELECT step.id FROM runs_steprun AS step
JOIN runs_run AS run ON run.id = step.run_id
JOIN runs_steprun AS origin ON origin.id = coalesce(step.reused_from_id, step.id)
JOIN runs_run AS first ON first.id = origin.run_id
WHERE step.run_id = %s AND step.parent_id IS NOT DISTINCT FROM %s AND step.key = %s
  AND run.state = ANY(%s) AND first.state = ANY(%s)
  AND step.state = 'succeeded' AND origin.state = 'succeeded'
  AND NOT step.used_fallback AND step.reuse_digest = %s
  AND origin.id <> ALL(%s::uuid[]) AND NOT EXISTS (
    SELECT FROM runs_steprun AS taken
    WHERE taken.run_id = %s AND taken.reused_from_id = origin.id)
  AND NOT EXISTS (
    SELECT FROM runs_artifactversion AS version
    WHERE version.step_run_id = origin.id AND version.state = 'archived'
      AND version.forked_from_id IS NULL)
ORDER BY step.item IS DISTINCT FROM %s, step.position LIMIT 1
FOR SHARE OF step, origin
"""


def take_result(change: RunChange, step: StepRun, columns: dict[str, Any]) -> bool:
    """Complete a released step with an earlier result; return False if it has to run.

    `columns` are those that its release sets. The errors are those of `specs.build`, and:

    :raises ArtifactUnreadable: when the files of a result with an effect cannot be read
    :raises LockRequired: when there may be a result, and the run is not locked
    """
    if not _may_reuse(change, step):
        return False
    spec = specs.build(change, step)
    specs.require_space(change, spec.body)
    source = _source(change, step, spec)
    if source is None or not _is_intact(step, source):
        return False
    _take(change, step, source, spec, columns)
    return True


def counterpart(change: RunChange, step: StepRun) -> UUID | None:
    """Return the step run of the original run that is in the same place."""
    places = [step]
    while places[-1].parent_id is not None:
        places.append(change.steps[places[-1].parent_id])
    found: UUID | None = None
    for place in reversed(places):
        rows = StepRun.objects.filter(run=change.run.rerun_of_id, parent=found)
        same = rows.filter(key=place.key, item=place.item)
        found = same.values_list("pk", flat=True).first()
        if found is None:
            return None
    return found


def _may_reuse(change: RunChange, step: StepRun) -> bool:
    """Return True if a step of a rerun need not run again.

    A step that a user retries runs.
    """
    run, loaded = change.run, change.loaded
    if run.rerun_of_id is None or step.kind != "skill" or step.generation > 1:
        return False
    return not runs_again(
        loaded.path(step), run.rerun_from, loaded.document, loaded.included_documents
    )


def _source(change: RunChange, step: StepRun, spec: Spec) -> StepRun | None:
    """Return the step of the original run that has done the same, if any."""
    change.require_lock()
    parent = change.steps[step.parent_id] if step.parent_id else None
    around = counterpart(change, parent) if parent else None
    if parent and around is None:
        return None
    original = change.run.rerun_of_id
    taken = [change.steps[pk].reused_from_id for pk in change.built]
    row = database.row(
        _SOURCE,
        [
            original,
            around,
            step.key,
            _ENDED,
            _ENDED,
            spec.reuse_digest,
            [pk for pk in taken if pk],
            change.run.id,
            step.item,
        ],
    )
    return StepRun.objects.get(pk=row[0]) if row else None


def _is_intact(step: StepRun, source: StepRun) -> bool:
    """Return True if a stored result is what was recorded, and its files exist.

    :raises ArtifactUnreadable: when this cannot be seen, and the step must not be
        repeated for that
    """
    try:
        if result_digest(source.output, source.files) != source.output_digest:
            return False
    except NotCanonical:
        return False
    files = {file["sha256"]: file for _, file in returned_files(source.files)}
    known = Artifact.objects.filter(pk__in=files).count()
    try:
        return known == len(files) and all(map(artifacts.is_intact, files.values()))
    except OSError as error:
        if may_rerun(step.effect_class):
            return False
        raise ArtifactUnreadable from error


def _take(
    change: RunChange,
    step: StepRun,
    source: StepRun,
    spec: Spec,
    columns: dict[str, Any],
) -> None:
    origin = source.reused_from_id or source.id
    change.store_spec(spec.digest, spec.body)
    change.built[step.id] = spec
    artifacts.use_files(step, source.files)
    change.move_step(
        step,
        StepEvent.REUSED,
        {
            "result": source.output_digest,
            "files": sorted(source.files),
            "digest": spec.digest,
            "reuse_digest": spec.reuse_digest,
            "rerun_of": str(change.run.rerun_of_id),
            "reused_from": str(origin),
            **columns,
        },
        spec_id=spec.digest,
        reuse_digest=spec.reuse_digest,
        reused_from_id=origin,
        output=source.output,
        files=source.files,
        output_digest=source.output_digest,
        error=None,
        started_at=change.at,
        **columns,
    )
