"""Compare what the steps of a run left behind with the digests in its record.

Outputs, the bytes that were executed, logs, and files with their bytes in the store.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any
from uuid import UUID

from django.db.models import Model

from audit.domain.rows import Difference, Replay
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
    LogChunk: {"id": "Has no meaning: pieces are sorted by their offset."},
    Artifact: {"created_at": "Not shown; the event of the step has the time."},
    ArtifactUse: {"id": "Has no meaning: uses are sorted by name."},
}
"""Columns of the tables compared here that are not history, with the reason."""

Found = Iterator[Difference]
Files = Mapping[str, Mapping[str, dict[str, Any]]]
"""By step run the references that its recorded result has, by the name of their use."""


@dataclass
class Checked:
    """What the comparison of a run's results came to."""

    differences: list[Difference] = field(default_factory=list)
    outputs: int = 0
    """Steps whose stored output and files are the recorded ones."""
    uncovered: int = 0
    unread: int = 0
    """Files whose bytes were not read."""
    files: Files = field(default_factory=dict)


def check(replay: Replay, run: UUID | None) -> Checked:
    """Compare the results of a run; nothing for a stream of another kind."""
    checked = Checked()
    if run is not None:
        checked.files = files = _outputs(replay, run, checked)
        found = checked.differences
        found += _plan_gate(replay, run)
        found += _specs(replay)
        found += _logs(replay, run, checked)
        found += _uses(replay, run, files)
        found += _artifacts(replay, files)
    return checked


def _recorded(replay: Replay, table: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for (name, key), columns in replay.rows.items():
        if name == table:
            yield key, columns


def _plan_gate(replay: Replay, run: UUID) -> Found:
    """Compare the run's plan gate with the last one that was opened for it."""
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


def _outputs(replay: Replay, run: UUID, checked: Checked) -> Files:
    """Compare each output with its digest; return the files of those that match."""
    table = history.STEP.name
    files: dict[str, dict[str, dict[str, Any]]] = {}
    rows = StepRun.objects.filter(run=run).only("id", "output", "files")
    for step in rows.iterator(chunk_size=100):
        key = str(step.pk)
        recorded = replay.rows.get((table, key), {}).get("output_digest")
        if recorded is None and (table, key) not in replay.born:
            checked.uncovered += step.output is not None
            continue
        found = _result_digest(step)
        if found != (recorded or ""):
            checked.differences.append(
                replay.difference(table, key, "output or files", recorded, found)
            )
            continue
        checked.outputs += bool(recorded)
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
    for name, given in files.items():
        for item in given if isinstance(given, list) else [given]:
            reference = item["$file"]
            yield f"{name}/{reference['name']}", reference


def _specs(replay: Replay) -> Found:
    """Compare the bytes that were shown and executed with their digests."""
    wanted = {
        str(columns["spec_id"])
        for name in (history.STEP.name, history.ATTEMPT.name)
        for _, columns in _recorded(replay, name)
        if columns.get("spec_id")
    }
    stored = ExecSpec.objects.filter(pk__in=wanted).values_list("digest", "body")
    for digest, body in stored.iterator(chunk_size=100):
        wanted.discard(digest)
        found = specs.digest_of(bytes(body))
        if found != digest:
            yield replay.difference("runs_execspec", digest, "body", digest, found)
    for digest in sorted(wanted):
        yield replay.difference("runs_execspec", digest, "digest", digest, None)


def _logs(replay: Replay, run: UUID, checked: Checked) -> Found:
    """Compare the log of each attempt with its recorded digest."""
    chunks = LogChunk.objects.filter(step_run__run=run).order_by()
    pairs = chunks.values_list("step_run_id", "fence").distinct()
    written = {f"{step}:{fence}" for step, fence in pairs}
    attempts = dict(_recorded(replay, history.ATTEMPT.name))
    logged = {key for key, columns in attempts.items() if "log" in columns}
    for key in sorted(written | logged):
        columns = attempts.get(key, {})
        if "ended_at" not in columns and (columns or replay.older):
            checked.uncovered += 1  # still writing, or from before logs were recorded
        else:
            yield from _log(replay, key, columns)


def _log(replay: Replay, key: str, columns: Mapping[str, Any]) -> Found:
    step, _, fence = key.partition(":")
    recorded = str(columns.get("log", ""))
    end, _, _ = recorded.partition(":")
    # A lost worker may go on writing for a while after its end was recorded.
    until = int(end or 0) if columns.get("phase") == Phase.LOST else None
    found = selectors.log_digest(UUID(step), int(fence), until=until)
    if found != recorded:
        yield replay.difference("runs_logchunk", key, "text", recorded, found)


def _uses(replay: Replay, run: UUID, files: Files) -> Found:
    """Compare which files belong to which step."""
    stored: dict[str, set[str]] = defaultdict(set)
    rows = ArtifactUse.objects.filter(step_run__run=run)
    columns = rows.values_list("step_run_id", "artifact_id", "name")
    for step_run, sha256, name in columns:
        stored[str(step_run)].add(f"{name} {sha256}")
    sole = StepRun.objects.filter(run=run, fence__lte=1, state=StepState.SUCCEEDED)
    sure = set(map(str, sole.values_list("pk", flat=True)))
    for step, references in files.items():
        recorded = {f"{name} {ref['sha256']}" for name, ref in references.items()}
        differing = [(use, "") for use in sorted(recorded - stored[step])]
        # A worker that was lost may have stored files of a result that does not count.
        if step in sure:
            differing += [("", use) for use in sorted(stored[step] - recorded)]
        for use, found in differing:
            yield Difference(replay.stream, "runs_artifactuse", step, "", use, found)


def _artifacts(replay: Replay, files: Files) -> Found:
    """Compare what is said of each file with the reference in the recorded result."""
    wanted = {
        str(reference["sha256"]): (step, reference)
        for step, references in files.items()
        for reference in references.values()
    }
    rows = Artifact.objects.filter(pk__in=wanted).prefetch_related("uses")
    for row in rows:
        step, reference = wanted.pop(row.pk)
        columns = ["size"]
        # The same bytes may come from many steps; the row describes the first.
        if str(row.producer_id) == step:
            columns += ["name", "media_type"]
        for name in columns:
            found = getattr(row, name)
            if found != reference[name]:
                yield replay.difference(
                    "runs_artifact", row.pk, name, reference[name], found
                )
        producer = row.producer_id
        if producer not in {use.step_run_id for use in row.uses.all()}:
            known = "a step with this file"
            yield replay.difference(
                "runs_artifact", row.pk, "producer_id", known, producer
            )
    for sha256 in sorted(wanted):
        yield Difference(replay.stream, "runs_artifact", sha256, "", "a row", "")


def read_files(replay: Replay, checked: Checked, *, most_bytes: int | None) -> None:
    """Compare the bytes in the store with their digest, at most so many in all.

    Outside any transaction: large files take longer than one may last.
    """
    sizes = {
        str(reference["sha256"]): int(reference["size"])
        for references in checked.files.values()
        for reference in references.values()
    }
    left = inf if most_bytes is None else most_bytes
    for sha256, size in sorted(sizes.items()):
        if size > left:
            checked.unread += 1
            continue
        left -= size
        try:
            artifacts.local_paths([{"sha256": sha256}])
        except (ArtifactUnknown, ArtifactCorrupt) as error:
            found = error.details.get("found", "no file")
            checked.differences.append(
                replay.difference("the artifact store", sha256, "bytes", sha256, found)
            )
