"""Compare the stored results of a run with the digests in its events.

These are outputs, executed bytes, logs, and files with their bytes in the store.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any
from uuid import UUID

from django.db.models import Q

from approvals.domain.states import GateStatus
from audit.domain.chain import Verified
from audit.domain.rows import Replay, RowDifference
from execfabric.lib import canonical
from orchestration.runs import history, selectors
from orchestration.runs.domain.files import references_in, returned_files
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import Phase, StepState
from orchestration.runs.engine import artifacts, specs
from orchestration.runs.errors import ArtifactCorrupt, ArtifactUnknown
from orchestration.runs.models import (
    Artifact,
    ArtifactUse,
    ExecSpec,
    InputFile,
    LogChunk,
    Run,
    StepRun,
)

HOLDING = (GateStatus.REQUESTED, GateStatus.PARTIAL, GateStatus.APPROVED)
Differences = Iterator[RowDifference]
Files = Mapping[str, Mapping[str, dict[str, Any]]]
"""The file references by their source and name: each step run, and the run itself."""


def check(replay: Replay, run: UUID, result: Verified) -> Files:
    """Add what differs in the results of a run; return the files to read."""
    inputs = _inputs(run)
    result.differences += _input_files(replay, run, inputs)
    outputs = _outputs(replay, run, result)
    files = {**outputs, str(run): inputs}
    result.differences += _plan_gate(replay, run)
    result.differences += _specs(replay)
    result.differences += _logs(replay, run, result)
    result.differences += _uses(replay, run, outputs)
    result.differences += _artifacts(replay, files)
    return files


def _plan_gate(replay: Replay, run: UUID) -> Differences:
    """Compare the plan gate of the run with the last one opened for it.

    After an edit that was not approved it is the one that was approved before.
    """
    gates = {
        key: columns.get("status", GateStatus.REQUESTED)
        for key, columns in replay.rows["approvals_gate"].items()
        if columns.get("subject_kind") == "run"
    }
    live = [key for key, status in gates.items() if status in HOLDING]
    rows = Run.objects.filter(pk=run).values_list("gate_id", flat=True)
    for gate in rows if gates else ():
        expected = (live or [*gates])[-1]
        if str(gate) != expected:
            table = history.RUN.name
            yield replay.difference(table, str(run), "gate_id", expected, str(gate))


def _outputs(replay: Replay, run: UUID, result: Verified) -> Files:
    """Compare each output with its digest; return the files of matching outputs."""
    table = history.STEP.name
    files: dict[str, dict[str, dict[str, Any]]] = {}
    rows = StepRun.objects.filter(run=run).only("id", "output", "files")
    for step in rows.iterator(chunk_size=100):
        key = str(step.pk)
        recorded = replay.rows[table].get(key, {}).get("output_digest")
        if recorded is None and (table, key) not in replay.born:
            result.uncovered += step.output is not None
            continue
        stored = _result_digest(step)
        if stored != (recorded or ""):
            result.differences.append(
                replay.difference(table, key, "output or files", recorded, stored)
            )
            continue
        result.outputs += bool(recorded)
        files[key] = dict(returned_files(step.files))
    return files


def _inputs(run: UUID) -> dict[str, dict[str, Any]]:
    """Return the files among the inputs of a run, which the columns of it cover."""
    found = Run.objects.filter(pk=run).values_list("inputs", flat=True).first()
    return dict(references_in(found or {}))


def _input_files(
    replay: Replay, run: UUID, inputs: Mapping[str, dict[str, Any]]
) -> Differences:
    recorded = {f"{name} {reference['sha256']}" for name, reference in inputs.items()}
    rows = InputFile.objects.filter(run=run).values_list("name", "artifact_id")
    stored = {f"{name} {sha256}" for name, sha256 in rows}
    differing = [(use, "") for use in sorted(recorded - stored)]
    differing += [("", use) for use in sorted(stored - recorded)]
    for use, extra in differing:
        table = "runs_inputfile"
        yield RowDifference(replay.stream, table, str(run), "", use, extra)


def _result_digest(step: StepRun) -> str:
    if step.output is None and step.files == {}:
        return ""
    try:
        return result_digest(step.output, step.files)
    except canonical.NotCanonical as error:
        return str(error)


def _specs(replay: Replay) -> Differences:
    missing = {
        str(columns["spec_id"])
        for name in (history.STEP.name, history.ATTEMPT.name)
        for columns in replay.rows[name].values()
        if columns.get("spec_id")
    }
    stored = ExecSpec.objects.filter(pk__in=missing).values_list("digest", "body")
    for digest, body in stored.iterator(chunk_size=100):
        missing.discard(digest)
        computed = specs.digest_of(bytes(body))
        if computed != digest:
            yield replay.difference("runs_execspec", digest, "body", digest, computed)
    for digest in sorted(missing):
        yield replay.difference("runs_execspec", digest, "digest", digest, None)


def _logs(replay: Replay, run: UUID, result: Verified) -> Differences:
    chunks = LogChunk.objects.filter(step_run__run=run).order_by()
    pairs = chunks.values_list("step_run_id", "fence").distinct()
    written = {f"{step}:{fence}" for step, fence in pairs}
    attempts = replay.rows[history.ATTEMPT.name]
    logged = {key for key, columns in attempts.items() if "log" in columns}
    for key in sorted(written | logged):
        columns = attempts.get(key, {})
        if "ended_at" not in columns and (columns or replay.older):
            result.uncovered += 1  # still writing, or too old to be recorded
        else:
            yield from _log(replay, key, columns)


def _log(replay: Replay, key: str, columns: Mapping[str, Any]) -> Differences:
    step, _, fence = key.partition(":")
    recorded = str(columns.get("log", ""))
    end, _, _ = recorded.partition(":")
    # A lost worker may still write after its end was recorded.
    until = int(end or 0) if columns.get("phase") == Phase.LOST else None
    stored = selectors.log_digest(UUID(step), int(fence), until=until)
    if stored != recorded:
        yield replay.difference("runs_logchunk", key, "text", recorded, stored)


def _uses(replay: Replay, run: UUID, files: Files) -> Differences:
    stored: dict[str, set[str]] = defaultdict(set)
    rows = ArtifactUse.objects.filter(step_run__run=run)
    columns = rows.values_list("step_run_id", "artifact_id", "name")
    for step_run, sha256, name in columns:
        stored[str(step_run)].add(f"{name} {sha256}")
    # A lost worker may have stored files of a result that was discarded, also where an
    # operator then recorded that the step succeeded.
    single = StepRun.objects.filter(
        Q(fence=0) | Q(fence=1, attempts__phase=Phase.DONE),
        run=run,
        state=StepState.SUCCEEDED,
    )
    single_attempt = set(map(str, single.values_list("pk", flat=True)))
    for step, references in files.items():
        recorded = {f"{name} {ref['sha256']}" for name, ref in references.items()}
        differing = [(use, "") for use in sorted(recorded - stored[step])]
        if step in single_attempt:
            differing += [("", use) for use in sorted(stored[step] - recorded)]
        for use, extra in differing:
            yield RowDifference(replay.stream, "runs_artifactuse", step, "", use, extra)


def _artifacts(replay: Replay, files: Files) -> Differences:
    missing = {
        str(reference["sha256"]): (step, reference)
        for step, references in files.items()
        for reference in references.values()
    }
    rows = Artifact.objects.filter(pk__in=missing).prefetch_related("uses")
    for row in rows:
        step, reference = missing.pop(row.pk)
        columns = ["size"]
        # Several steps may have the same bytes; the row describes the first.
        if str(row.producer_id) == step:
            columns += ["name", "media_type"]
        for name in columns:
            stored = getattr(row, name)
            if stored != reference[name]:
                yield replay.difference(
                    "runs_artifact", row.pk, name, reference[name], stored
                )
        producer = row.producer_id
        # A file that no step returned was uploaded.
        producers = [use.step_run_id for use in row.uses.all()]
        if producer not in producers and (producers or producer):
            expected = "a step with this file"
            yield replay.difference(
                "runs_artifact", row.pk, "producer_id", expected, producer
            )
    for sha256 in sorted(missing):
        yield RowDifference(replay.stream, "runs_artifact", sha256, "", "a row", "")


def read_files(
    replay: Replay, files: Files, result: Verified, *, most_bytes: int | None
) -> None:
    """Add files whose bytes in the store differ, reading up to `most_bytes`.

    Run it outside a transaction, because large files take too long for one.
    """
    sizes = {
        str(reference["sha256"]): int(reference["size"])
        for references in files.values()
        for reference in references.values()
    }
    left = inf if most_bytes is None else most_bytes
    for sha256, size in sorted(sizes.items()):
        if size > left:
            result.unread += 1
            continue
        left -= size
        try:
            artifacts.local_paths([{"sha256": sha256}])
        except (ArtifactUnknown, ArtifactCorrupt) as error:
            stored = error.details.get("found", "no file")
            result.differences.append(
                replay.difference("the artifact store", sha256, "bytes", sha256, stored)
            )
