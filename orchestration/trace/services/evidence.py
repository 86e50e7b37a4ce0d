"""Compare the stored results of a run with the digests in its events.

These are outputs, executed bytes, logs, and files with their bytes in the store.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any
from uuid import UUID

from django.db.models import Model, Q

from audit.domain.rows import Replay, RowDifference
from execfabric.lib import canonical
from orchestration.runs import history, selectors
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import Phase, StepState
from orchestration.runs.engine import artifacts, specs
from orchestration.runs.errors import ArtifactCorrupt, ArtifactUnknown
from orchestration.runs.models import (
    Artifact,
    ArtifactUse,
    ExecSpec,
    LogChunk,
    Run,
    StepRun,
)

EXEMPT: dict[type[Model], dict[str, str]] = {
    ExecSpec: {},
    LogChunk: {"id": "Has no meaning: chunks are sorted by their offset."},
    Artifact: {"created_at": "Not shown; the event of the step has the time."},
    ArtifactUse: {"id": "Has no meaning: uses are sorted by name."},
}
"""Columns that are not compared, with the reason."""

Differences = Iterator[RowDifference]
Files = Mapping[str, Mapping[str, dict[str, Any]]]
"""The file references in each recorded result, by step run and by name of use."""


@dataclass
class Evidence:
    """The result of comparing the results of a run."""

    differences: list[RowDifference] = field(default_factory=list)
    outputs: int = 0
    """Steps whose stored output and files match the recorded ones."""
    uncovered: int = 0
    unread: int = 0
    """Files whose bytes were not read."""
    files: Files = field(default_factory=dict)


def check(replay: Replay, run: UUID | None) -> Evidence:
    """Compare the results of a run; do nothing for a stream without a run."""
    evidence = Evidence()
    if run is not None:
        evidence.files = files = _outputs(replay, run, evidence)
        differences = evidence.differences
        differences += _plan_gate(replay, run)
        differences += _specs(replay)
        differences += _logs(replay, run, evidence)
        differences += _uses(replay, run, files)
        differences += _artifacts(replay, files)
    return evidence


def _recorded(replay: Replay, table: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for (name, key), columns in replay.rows.items():
        if name == table:
            yield key, columns


def _plan_gate(replay: Replay, run: UUID) -> Differences:
    """Compare the plan gate of the run with the last one opened for it."""
    gates = [
        key
        for key, columns in _recorded(replay, "approvals_gate")
        if columns.get("subject_kind") == "run"
    ]
    rows = Run.objects.filter(pk=run).values_list("gate_id", flat=True)
    for gate in rows if gates else ():
        if str(gate) != gates[-1]:
            yield replay.difference(
                history.RUN.name, str(run), "gate_id", gates[-1], str(gate)
            )


def _outputs(replay: Replay, run: UUID, evidence: Evidence) -> Files:
    """Compare each output with its digest; return the files of matching outputs."""
    table = history.STEP.name
    files: dict[str, dict[str, dict[str, Any]]] = {}
    rows = StepRun.objects.filter(run=run).only("id", "output", "files")
    for step in rows.iterator(chunk_size=100):
        key = str(step.pk)
        recorded = replay.rows.get((table, key), {}).get("output_digest")
        if recorded is None and (table, key) not in replay.born:
            evidence.uncovered += step.output is not None
            continue
        stored = _result_digest(step)
        if stored != (recorded or ""):
            evidence.differences.append(
                replay.difference(table, key, "output or files", recorded, stored)
            )
            continue
        evidence.outputs += bool(recorded)
        files[key] = dict(_references(step.files))
    return files


def _result_digest(step: StepRun) -> str:
    if step.output is None and step.files == {}:
        return ""
    try:
        return result_digest(step.output, step.files)
    except canonical.NotCanonical as error:
        return str(error)


def _references(files: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in files.items():
        for item in value if isinstance(value, list) else [value]:
            reference = item["$file"]
            yield f"{name}/{reference['name']}", reference


def _specs(replay: Replay) -> Differences:
    """Compare the executed bytes with their digests."""
    missing = {
        str(columns["spec_id"])
        for name in (history.STEP.name, history.ATTEMPT.name)
        for _, columns in _recorded(replay, name)
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


def _logs(replay: Replay, run: UUID, evidence: Evidence) -> Differences:
    """Compare the log of each attempt with its recorded digest."""
    chunks = LogChunk.objects.filter(step_run__run=run).order_by()
    pairs = chunks.values_list("step_run_id", "fence").distinct()
    written = {f"{step}:{fence}" for step, fence in pairs}
    attempts = dict(_recorded(replay, history.ATTEMPT.name))
    logged = {key for key, columns in attempts.items() if "log" in columns}
    for key in sorted(written | logged):
        columns = attempts.get(key, {})
        if "ended_at" not in columns and (columns or replay.older):
            evidence.uncovered += (
                1  # still writing, or older than the recording of logs
            )
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
    """Compare the files of each step."""
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
    """Compare the row of each file with the reference in the recorded result."""
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
        if producer not in {use.step_run_id for use in row.uses.all()}:
            expected = "a step with this file"
            yield replay.difference(
                "runs_artifact", row.pk, "producer_id", expected, producer
            )
    for sha256 in sorted(missing):
        yield RowDifference(replay.stream, "runs_artifact", sha256, "", "a row", "")


def read_files(replay: Replay, evidence: Evidence, *, most_bytes: int | None) -> None:
    """Compare the bytes in the store with their digests, up to `most_bytes`.

    Run it outside a transaction, because large files take too long for one.
    """
    sizes = {
        str(reference["sha256"]): int(reference["size"])
        for references in evidence.files.values()
        for reference in references.values()
    }
    left = inf if most_bytes is None else most_bytes
    for sha256, size in sorted(sizes.items()):
        if size > left:
            evidence.unread += 1
            continue
        left -= size
        try:
            artifacts.local_paths([{"sha256": sha256}])
        except (ArtifactUnknown, ArtifactCorrupt) as error:
            stored = error.details.get("found", "no file")
            evidence.differences.append(
                replay.difference("the artifact store", sha256, "bytes", sha256, stored)
            )
