"""Artifacts of steps with many files: what is read and written for them stays small."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from execfabric.lib import clock
from orchestration.runs.control import artifacts
from orchestration.runs.engine.version_sources import Returned, _origins
from orchestration.runs.engine.versions import ChainChange, _tails
from orchestration.runs.models import (
    Artifact,
    ArtifactSource,
    ArtifactVersion,
    NamedArtifact,
)
from orchestration.runs.pages import artifact_pages, tracker
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    claimed,
    decided,
    driven,
    open_gate,
    plan,
    proposed,
    step,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

OF_STEP = r"output|files|error|item_value|condition"
OF_RUN = r"inputs|pins|body|source"
WIDE = re.compile(rf'"\w+"\."({OF_STEP}|{OF_RUN})"')


@contextmanager
def versions_read() -> Iterator[list[str]]:
    """Yield the columns of each query for versions of artifacts, once it has ended."""
    columns: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        yield columns
    for query in queries.captured_queries:
        chosen, _, tables = query["sql"].partition(" FROM ")
        if tables.startswith('"runs_artifactversion"'):
            columns.append(chosen)


def rows_read(sql: str, table: str) -> int:
    """Return how many rows of a table a query reads if it may use its indexes."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        [[[explained]]] = cursor.fetchall()

    def scanned(node: dict[str, Any]) -> int:
        below = sum(map(scanned, node.get("Plans", ())))
        of_table = node.get("Relation Name") == table
        return below + of_table * node["Actual Rows"] * node["Actual Loops"]

    return scanned(explained["Plan"])


def note(key: str, text: str, **fields) -> dict:
    return step(key, "write", params={"text": text}, **fields)


def test_versions_are_read_without_the_content_of_their_steps(
    proposer, operator, worker
):
    used = {"text": "more", "of": "$make.files.note"}
    text = plan(note("make", "one"), step("use", "write", params=used, after="make"))
    driven(approved(text, proposer, operator), worker)
    by = proposer.actor()

    with versions_read() as columns:
        run = driven(approved(text, proposer, operator), worker)
        made = ArtifactVersion.objects.get(artifact__name="make/note", number=2)
        artifact_pages.view(by, made.artifact_id)
        artifact_pages.versions_with(by, made.file_id)
        tracked = tracker.tracked(by, run.pk)
        for artifact in tracked.artifacts:
            assert [each.step_run.label for each in artifact.versions]
        artifacts.fork(
            artifact_id=made.artifact_id, name="board", by=by, at=clock.now()
        )

    joined = [chosen for chosen in columns if '"runs_steprun"' in chosen]
    # Drafts, tails, the page with its lineage, the page of the file, the tab of the run.
    assert len(joined) >= 6
    assert not any(WIDE.search(chosen) for chosen in joined)


MANY = 50


def test_sources_are_written_once_for_all_files_of_an_attempt(proposer, operator):
    text = plan(note("make", "one"), id="lab-plan")
    run = approved(text, proposer, operator)
    lease = claimed(run, "make")
    files = [
        {"sha256": f"{number:064}", "name": f"{number}.txt"}
        for number in range(2 * MANY)
    ]
    now = clock.now()
    Artifact.objects.bulk_create(
        [
            Artifact(**file, size=1, media_type="text/plain", created_at=now)
            for file in files
        ]
    )
    received, returned = (
        files[:MANY],
        {"note": [{"$file": file} for file in files[MANY:]]},
    )
    made_by = run.steps.get(pk=lease.step_run_id)

    with CaptureQueriesContext(connection) as queries:
        change = ChainChange(run.revision.plan_id, proposer.actor(), now)
        change.draft(run, Returned(made_by, "make", returned, received))
        change.close()

    assert ArtifactVersion.objects.count() == MANY
    assert ArtifactSource.objects.count() == MANY
    assert len(queries) <= 12
    assert len(change.facts) == MANY
    # A row for each artifact, version and source.
    assert sum(len([*fact.rows]) for fact in change.facts) == 3 * MANY
    stream = f"artifacts:{run.revision.plan_id}"
    result = streams.verify_stream(stream, expected=True)
    assert (result.broken, result.differences) == (None, [])

    for version in ArtifactVersion.objects.all()[:2]:
        lineage = artifact_pages.lineage_of(proposer.actor(), version)
        assert {source.name for source in lineage.sources} == {
            file["name"] for file in received
        }


LONG = 40
"""The length of a chain; some times what may be read of it."""


def long_chain(proposer, operator) -> list[ArtifactVersion]:
    """Return a chain whose versions all are one file, each of another step."""
    keys = [f"s{number}" for number in range(LONG)]
    run = approved(plan(*(note(key, key) for key in keys)), proposer, operator)
    now = clock.now()
    [file] = Artifact.objects.bulk_create(
        [Artifact(sha256="a" * 64, size=1, media_type="text/plain", created_at=now)]
    )
    artifact = NamedArtifact.objects.create(
        plan=run.revision.plan, name="long/note", created_at=now
    )
    versions: list[ArtifactVersion] = []
    for number, made_by in enumerate(run.steps.order_by("position"), 1):
        versions.append(
            ArtifactVersion(
                artifact=artifact,
                file=file,
                file_name="note.txt",
                step_run=made_by,
                fence=1,
                state="superseded" if number < LONG else "current",
                number=number,
                supersedes=versions[-1] if versions else None,
                created_at=now,
                current_at=now,
            )
        )
    return ArtifactVersion.objects.bulk_create(versions)


def test_what_is_read_does_not_grow_with_the_length_of_a_chain(proposer, operator):
    versions = long_chain(proposer, operator)
    last, newest = versions[-1], max(version.pk for version in versions)
    received = [{"sha256": last.file_id, "name": "note.txt"}]
    other = proposed(plan(note("s0", "new")), proposer)

    with CaptureQueriesContext(connection) as queries:
        tails = _tails({last.artifact_id, uuid4()})
    assert tails == {last.artifact_id: last}
    [query] = queries.captured_queries
    assert rows_read(query["sql"], "runs_artifactversion") <= 4

    for run in (last.step_run.run, other):
        with versions_read() as columns:
            origins = _origins(run, received)
        assert origins == {last.file_id: ("note.txt", newest)}
        # The first version of each file, and of it what a source needs.
        for chosen in columns:
            assert chosen.startswith("SELECT DISTINCT ON")
            assert chosen.count("runs_artifactversion") == 3


def test_the_version_in_use_is_shown_below_any_number_of_drafts(
    proposer, operator, monkeypatch
):
    current, *drafts = sorted(each.pk for each in long_chain(proposer, operator))
    rows = ArtifactVersion.objects.all()
    rows.filter(pk__in=drafts).update(
        state="draft", number=None, supersedes=None, current_at=None
    )
    rows.filter(pk=current).update(state="current")
    monkeypatch.setattr(artifact_pages, "VERSIONS", 2)
    [artifact] = NamedArtifact.objects.all()
    by = proposer.actor()

    page = artifact_pages.view(by, artifact.pk)
    assert page.shown.pk == current
    assert [version.pk for version in page.versions] == drafts[:-3:-1]
    assert artifact_pages.view(by, artifact.pk, drafts[0]).shown.pk == drafts[0]
    rows.filter(pk=current).update(state="superseded")
    assert artifact_pages.view(by, artifact.pk).shown.pk == drafts[-1]


def test_a_fork_is_not_the_source_of_a_step_that_read_its_origin(
    proposer, operator, worker
):
    used = {"text": "more", "of": "$make.files.note"}
    gate = step("ask", "risky", after="make")
    text = plan(
        note("make", "one"), gate, step("use", "write", params=used, after="ask")
    )
    run = driven(approved(text, proposer, operator), worker)
    made = ArtifactVersion.objects.get(artifact__name="make/note")
    artifacts.fork(
        artifact_id=made.artifact_id,
        version_id=made.pk,
        name="board",
        by=proposer.actor(),
        at=clock.now(),
    )
    decided(open_gate(run, "ask"), operator)
    driven(run, worker)

    later = ArtifactVersion.objects.get(artifact__name="use/note")
    [source] = artifact_pages.lineage_of(proposer.actor(), later).sources
    assert source.version == made
