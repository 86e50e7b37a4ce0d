"""Artifacts: each success adds a draft, each succeeded run a new head of the chain."""

import threading
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from audit.models import Event
from execfabric.identity import services as accounts
from execfabric.identity.errors import RightMissing
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.lib.machine import IllegalTransition, StaleTransition
from execfabric.lib.rights import Role
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.errors import PlanNotPermitted
from orchestration.plans.services import rights
from orchestration.runs.control import artifacts, control, uploads
from orchestration.runs.domain.results import Finished
from orchestration.runs.engine import artifacts as store
from orchestration.runs.engine.versions import ChainChange
from orchestration.runs.errors import (
    ArchiveReasonRequired,
    ArtifactNotYours,
    ChainUnknown,
    ForkNameInvalid,
    ForkNameTaken,
    VersionArchived,
)
from orchestration.runs.models import (
    ArtifactSource,
    ArtifactVersion,
    NamedArtifact,
    Run,
)
from orchestration.trace.services import streams
from tests.api_builders import person
from tests.builders import approved, claimed, completed, driven, plan, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

DOC = {"type": "object", "properties": {"doc": {"type": "string", "format": "file"}}}


def writing(text: str, *more, **fields) -> str:
    """Return a plan whose step `make` writes a note with this text."""
    words = {"text": text, **fields.pop("params", {})}
    return plan(step("make", "write", params=words), *more, **fields)


def chain(name: str = "make/note") -> list[ArtifactVersion]:
    versions = ArtifactVersion.objects.filter(artifact__name=name)
    return list(versions.order_by("pk"))


def sources_of(version: ArtifactVersion):
    return ArtifactSource.objects.filter(step_run=version.step_run, fence=version.fence)


def states_of(name: str = "make/note") -> list[tuple[str, int | None]]:
    return [(version.state, version.number) for version in chain(name)]


def kinds(plan_id) -> list[str]:
    events = Event.objects.filter(stream=f"artifacts:{plan_id}").order_by("seq")
    return [event.kind.removeprefix("artifact.") for event in events]


def is_intact(plan_id) -> bool:
    result = streams.verify_stream(f"artifacts:{plan_id}", expected=True)
    return result.broken is None and not result.differences


@pytest.mark.promise("S2.28")
@pytest.mark.usefixtures("path")
def test_versions_are_drafted_promoted_superseded_archived_and_forked(
    proposer, operator, worker
):
    first = _current(proposer, operator, worker)
    _draft(proposer, operator, worker)
    _superseded(first, proposer, operator, worker)
    archived = artifacts.archive(
        artifact_id=first.artifact_id,
        reason="Wrong numbers.",
        by=operator.actor(),
        at=clock.now(),
    )
    assert (archived.state, archived.archived_by_name) == ("archived", "operator")
    driven(approved(writing("four"), proposer, operator), worker)
    _forked(first, proposer)

    # The version after an archived one supersedes it.
    assert states_of() == [
        ("superseded", 1),
        ("draft", None),
        ("archived", 2),
        ("current", 3),
    ]
    assert chain()[-1].supersedes == archived
    plan_id = first.artifact.plan_id
    assert kinds(plan_id) == [
        *("drafted", "drafted", "promoted", "promoted"),
        "drafted",
        *("drafted", "superseded", "promoted"),
        "archived",
        *("drafted", "promoted"),
        "forked",
    ]
    assert is_intact(plan_id)


def _current(proposer, operator, worker) -> ArtifactVersion:
    """Check that the first version names producer and source, and replaces none."""
    upload = uploads.store(
        chunks=[b"words"], name="words.txt", by=proposer.actor(), at=clock.now()
    )
    params = {"text": "more", "of": "$make.files.note"}
    more = step("more", "write", after="make", params=params)
    text = writing("one", more, inputs=DOC, params={"of": "$inputs.doc"})
    run = driven(approved(text, proposer, operator, doc=str(upload.pk)), worker)
    [version] = chain()
    assert (version.state, version.number) == ("current", 1)
    assert version.supersedes is None
    assert (version.step_run, version.fence) == (run.steps.get(key="make"), 1)
    [source] = sources_of(version)
    assert (source.file_id, source.name) == (upload.artifact_id, "words.txt")
    assert source.source is None
    [later] = chain("more/note")
    assert sources_of(later).get().source == version
    return version


def _draft(proposer, operator, worker) -> None:
    """Check that a draft replaces nothing before its run has succeeded."""
    text = writing("two", step("ask", "risky", after="make"))
    run = driven(approved(text, proposer, operator), worker)
    assert states_of() == [("current", 1), ("draft", None)]
    control.cancel(run_id=run.pk, by=operator.actor(), at=clock.now())
    assert states_of() == [("current", 1), ("draft", None)]


def _superseded(first: ArtifactVersion, proposer, operator, worker) -> None:
    driven(approved(writing("three"), proposer, operator), worker)
    assert states_of() == [("superseded", 1), ("draft", None), ("current", 2)]
    second = chain()[-1]
    assert second.supersedes == first
    assert second.file_id != first.file_id


def _forked(version: ArtifactVersion, proposer) -> None:
    """Check that a fork begins another chain, and leaves its version as it is."""
    fork = artifacts.fork(
        artifact_id=version.artifact_id,
        version_id=version.pk,
        name="for the board",
        by=proposer.actor(),
        at=clock.now(),
    )
    assert (fork.state, fork.number, fork.forked_from) == ("forked", 1, version)
    assert states_of("for the board") == [("forked", 1)]


def test_two_runs_that_end_at_once_give_one_chain(proposer, operator, worker):
    runs = [
        approved(writing(text), proposer, operator) for text in ("a", "b", "c", "d")
    ]
    leases = [claimed(run, "make") for run in runs]
    folders = [worker.home / str(run.pk) for run in runs]
    results = []
    for lease, folder, run in zip(leases, folders, runs, strict=True):
        folder.mkdir()
        (folder / "note.txt").write_text(str(run.pk))
        files = store.store(
            {"note": folder / "note.txt"},
            folder=folder,
            step_run_id=lease.step_run_id,
            at=clock.now(),
        )
        results.append(Finished({}, files))
    start = threading.Barrier(len(runs))

    def end(lease, result) -> None:
        start.wait()
        try:
            completed(lease, result)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=end, args=pair)
        for pair in zip(leases, results, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    versions = sorted(chain(), key=lambda version: version.number)
    assert [version.state for version in versions] == ["superseded"] * 3 + ["current"]
    assert [version.number for version in versions] == [1, 2, 3, 4]
    before = [None, *versions[:-1]]
    assert [version.supersedes for version in versions] == before
    assert {run.state for run in Run.objects.all()} == {"succeeded"}
    assert is_intact(runs[0].revision.plan_id)


@pytest.mark.usefixtures("path")
def test_a_step_succeeds_with_its_versions_or_not_at_all(
    proposer, operator, worker, monkeypatch
):
    run = approved(writing("one", step("say", after="make")), proposer, operator)
    seen = []
    close = ChainChange.close

    def broken(change) -> None:
        close(change)
        if not seen:
            seen.append([*chain()])
            raise DatabaseError

    # The first try is undone whole, and the worker tries again.
    monkeypatch.setattr(ChainChange, "close", broken)
    driven(run, worker)

    [[undone]] = seen
    [version] = chain()
    assert undone != version
    assert (version.state, version.number, version.fence) == ("current", 1, 1)
    made = Event.objects.filter(stream=run.stream, kind="step.succeeded", step="make")
    assert made.count() == 1
    assert kinds(run.revision.plan_id) == ["drafted", "promoted"]
    assert is_intact(run.revision.plan_id)


def test_the_database_refuses_what_no_chain_has(proposer, operator, worker):
    driven(approved(writing("one"), proposer, operator), worker)
    driven(approved(writing("two"), proposer, operator), worker)
    old, new = chain()
    rows = ArtifactVersion.objects
    for fields in (
        {"state": "current"},  # two heads
        {"state": "draft"},  # with a number
        {"state": "forked"},  # without an origin
        {"state": "archived"},  # without a reason
        {"state": "gone"},
        {"number": 2},
        {"number": None},
        {"current_at": None},
        {"supersedes": new},  # the first one supersedes none
        {"archived_by": "user:1"},
        {"archive_reason": "Because."},
        {"file_name": "other.txt"},
        {"fence": 7},
        {"step_run": new.step_run},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.filter(pk=old.pk).update(**fields)
    for fields in ({"supersedes": None}, {"number": 3}, {"forked_from": old}):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.filter(pk=new.pk).update(**fields)
    for row in (*rows.all(), *NamedArtifact.objects.all()):
        with pytest.raises(IntegrityError), transaction.atomic():
            type(row).objects.filter(pk=row.pk).delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        NamedArtifact.objects.update(name="other")

    # A writer that has read an older state changes nothing.
    old.state = "current"
    with transaction.atomic():
        change = ChainChange(old.artifact.plan_id, operator.actor(), clock.now())
        with pytest.raises(StaleTransition):
            change.archive(old, "Old.")
    assert states_of() == [("superseded", 1), ("current", 2)]


def test_only_those_who_may_control_its_run_archive_a_version(
    proposer, second_operator, operator, stranger, auditor, worker
):
    driven(approved(writing("one"), proposer, operator), worker)
    [version] = chain()
    named = {"artifact_id": version.artifact_id, "at": clock.now()}

    def refused(error, by, act=artifacts.archive, **fields):
        with pytest.raises(error):
            act(**named | {"by": by.actor(), "reason": "Old."} | fields)

    bot, _ = accounts.create_agent(
        name="bot", owner="proposer", by=system("test"), at=clock.now()
    )
    refused(ChainUnknown, stranger)
    refused(ArtifactNotYours, auditor)
    refused(ChainUnknown, bot)
    refused(ArchiveReasonRequired, operator, reason=" ")
    refused(ArchiveReasonRequired, operator, reason="x" * 2001)
    refused(ChainUnknown, operator, version_id=uuid4())
    assert states_of() == [("current", 1)]
    artifacts.archive(**named, by=proposer.actor(), reason="Old.")
    refused(ChainUnknown, operator)  # none is current
    refused(IllegalTransition, operator, version_id=version.pk)
    assert chain()[0].archive_reason == "Old."


def test_a_fork_needs_a_free_name_and_rights_on_its_plan(
    proposer, second_operator, operator, auditor, worker
):
    driven(approved(writing("one"), proposer, operator), worker)
    other = writing("two", id="other-plan")
    driven(approved(other, second_operator, operator), worker)
    version = chain()[0]
    named = {"artifact_id": version.artifact_id, "at": clock.now()}

    def refused(error, by=operator, **fields):
        with pytest.raises(error):
            artifacts.fork(**named | {"by": by.actor(), "name": "board"} | fields)

    def granted(slug, by):
        fields = {"user": "operator", "by": by.actor(), "at": clock.now()}
        rights.grant(slug=slug, right=PlanRight.EDIT, **fields)

    refused(RightMissing, auditor)
    refused(PlanNotPermitted)
    granted("lab-plan", proposer)
    refused(PlanNotPermitted, plan="other-plan")
    for name in ("", " board", "a\nb", "x" * 601):
        refused(ForkNameInvalid, name=name)
    refused(ForkNameTaken, name="make/note")
    assert NamedArtifact.objects.count() == 2
    granted("other-plan", second_operator)
    fork = artifacts.fork(**named, name="start", plan="other-plan", by=operator.actor())
    assert fork.artifact.plan.slug == "other-plan"
    assert is_intact(fork.artifact.plan_id)
    artifacts.archive(**named, by=operator.actor(), reason="Old.")
    refused(VersionArchived, version_id=version.pk)


def test_a_run_of_its_plan_supersedes_a_fork(proposer, operator, worker):
    driven(approved(writing("one"), proposer, operator), worker)
    [version] = chain()
    artifacts.fork(
        artifact_id=version.artifact_id,
        name="next/note",
        by=proposer.actor(),
        at=clock.now(),
    )
    renamed = plan(step("next", "write", params={"text": "two"}))
    driven(approved(renamed, proposer, operator), worker)

    assert states_of("next/note") == [("superseded", 1), ("current", 2)]
    fork, following = chain("next/note")
    assert (fork.forked_from, following.supersedes) == (version, fork)
    assert is_intact(version.artifact.plan_id)


def test_a_source_names_a_version_only_if_the_proposer_may_see_it(
    proposer, operator, second_operator, worker
):
    driven(approved(writing("one"), proposer, operator), worker)
    [version] = chain()
    other = person("other", Role.PROPOSER)
    sources = {}
    for who in (other, second_operator):
        upload = uploads.store(
            chunks=[b"one"], name="one.txt", by=who.actor(), at=clock.now()
        )
        text = writing("two", id=f"of-{who}", inputs=DOC, params={"of": "$inputs.doc"})
        run = driven(approved(text, who, operator, doc=str(upload.pk)), worker)
        made = ArtifactVersion.objects.get(step_run__run=run)
        sources[who] = sources_of(made).get()

    assert {row.file_id for row in sources.values()} == {version.file_id}
    assert sources[other].source is None
    assert sources[second_operator].source == version


def test_items_fallbacks_and_sub_plans_have_names_of_their_own(
    proposer, operator, worker
):
    fallback = {"skill": "lab", "action": "write", "params": {"text": "instead"}}
    text = plan(
        step("each", "write", forEach=["x", "y"], params={"text": "$item"}),
        step("try", "misbehave", params={"how": "fail"}, fallback=fallback),
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded"
    names = NamedArtifact.objects.order_by("name").values_list("name", flat=True)
    assert list(names) == ["each [0]/note", "each [1]/note", "try/note"]
    assert {version.state for version in ArtifactVersion.objects.all()} == {"current"}
    assert ArtifactSource.objects.count() == 0
