"""Versions of artifacts whose steps were undone are withdrawn."""

import pytest
from django.urls import reverse

from audit.models import Event
from execfabric.lib import clock
from orchestration.runs.control import artifacts
from orchestration.runs.engine.versions import stream_of
from orchestration.runs.models import ArtifactVersion, NamedArtifact
from orchestration.trace.services import streams
from tests.builders import approved, driven, plan
from tests.console_builders import signed_in, words
from tests.integration.rollback_builders import done, rolled_back

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def made(proposer, operator, worker, witness):
    """Return a function that returns a succeeded run with a new version."""

    def make(text: str = "text"):
        step = done("s0", params={"mark": "s0", "file": text})
        run = driven(approved(plan(step), proposer, operator), worker)
        assert run.state == "succeeded"
        return run

    return make


@pytest.fixture
def undone(operator, worker):
    def undo(run):
        rolled_back(run, operator)
        run = driven(run, worker)
        assert run.state == "rolled_back"
        return run

    return undo


def chain(name="s0/note"):
    rows = ArtifactVersion.objects.filter(artifact__name=name).order_by("pk")
    return [(row.number, row.state) for row in rows]


def newest_event(run):
    stream = stream_of(run.revision.plan_id)
    return Event.objects.filter(stream=stream).order_by("-seq").first()


def is_intact(run):
    for stream in (stream_of(run.revision.plan_id), run.stream):
        result = streams.verify_stream(stream)
        if (result.broken, result.differences) != (None, []):
            return False
    return True


def test_the_version_before_an_undone_one_is_current_again(made, undone, operator):
    made("one")
    second = made("two")
    before = Event.objects.filter(stream=stream_of(second.revision.plan_id)).count()

    undone(second)

    assert chain() == [(1, "current"), (2, "withdrawn")]
    events = Event.objects.filter(stream=stream_of(second.revision.plan_id))
    assert events.count() == before + 1
    assert newest_event(second).kind == "artifact.withdrawn"
    assert is_intact(second)
    artifact = NamedArtifact.objects.get(name="s0/note")
    page = signed_in(operator).get(reverse("named_artifact", args=[artifact.pk]))
    shown = words(page)
    assert "Withdrawn" in shown
    assert "Its step was undone." in shown
    assert page.context["shown"].shown.number == 1


def test_the_next_run_supersedes_what_is_current_after_a_rollback(made, undone):
    made("one")
    undone(made("two"))

    third = made("three")

    assert chain() == [(1, "superseded"), (2, "withdrawn"), (3, "current")]
    undone(third)
    assert chain() == [(1, "current"), (2, "withdrawn"), (3, "withdrawn")]
    assert is_intact(third)


def test_an_undone_version_that_is_superseded_leaves_the_head_as_it_is(made, undone):
    first = made("one")
    second = made("two")

    undone(first)
    assert chain() == [(1, "withdrawn"), (2, "current")]
    undone(second)

    assert chain() == [(1, "withdrawn"), (2, "withdrawn")]
    made("three")
    assert chain()[-1] == (3, "current")
    assert is_intact(second)


def test_an_archived_version_stays_archived(made, undone, proposer):
    made("one")
    second = made("two")
    artifacts.archive(
        artifact_id=NamedArtifact.objects.get(name="s0/note").pk,
        reason="Wrong.",
        by=proposer.actor(),
        at=clock.now(),
    )

    undone(second)

    assert chain() == [(1, "superseded"), (2, "archived")]
    assert is_intact(second)


def test_a_fork_of_an_undone_version_stays_and_is_restored(
    made, undone, proposer, operator, worker
):
    first = made("one")
    artifacts.fork(
        artifact_id=NamedArtifact.objects.get(name="s0/note").pk,
        name="s1/note",
        by=proposer.actor(),
        at=clock.now(),
    )
    undone(first)
    assert chain("s1/note") == [(1, "forked")]
    text = plan(done("s1", params={"mark": "s1", "file": "text"}))
    run = driven(approved(text, proposer, operator), worker)
    assert chain("s1/note") == [(1, "superseded"), (2, "current")]

    undone(run)

    assert chain("s1/note") == [(1, "forked"), (2, "withdrawn")]
    assert is_intact(run)
