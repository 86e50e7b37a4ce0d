"""The trace: every event can be found, and one that was tampered with is named."""

import re
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from audit import services as audit
from audit.models import Event
from audit.services import Fact
from execfabric.lib import clock
from orchestration.runs.models import Run
from orchestration.trace.services import jobs
from tests.builders import decided, open_gate
from tests.console_builders import a_run, codes, rows, signed_in, words
from tests.database import forged

pytestmark = pytest.mark.usefixtures("registry")
AIM = 13
VERIFYING = 17
"""Queries that read the rows which a run's record speaks of, however many."""


@pytest.fixture
def client(auditor, operator) -> Client:
    return signed_in(auditor)


past_the_product = partial(forged, tables=["audit_event"])


def tamper(stream: str, seq: int) -> None:
    """Change one byte of one event."""
    past_the_product(
        "UPDATE audit_event SET body = set_byte(body, length(body) - 3, 65)"
        " WHERE stream = %s AND seq = %s",
        stream,
        seq,
    )


def test_a_runs_events_are_listed_with_what_each_says(
    proposer, operator, client
) -> None:
    run = a_run(proposer)
    decided(open_gate(run), operator, comment="as agreed")

    page = client.get("/trace", {"stream": run.stream})

    text = words(page)
    for sentence in [
        "proposer proposed Hand a value on",
        "Approval of the plan Hand a value on was requested",
        "operator approved the plan Hand a value on",
        "Run Hand a value on was approved and started",
    ]:
        assert sentence in text
    assert "as agreed" in text
    assert rows(page, "trace-row") == Event.objects.filter(stream_id=run.stream).count()


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        pytest.param({"kind": "run.proposed"}, {"run.proposed"}, id="kind"),
        pytest.param({"actor": "propos"}, {"run.proposed"}, id="actor"),
        pytest.param({"text": "hand-on"}, {"run.proposed"}, id="text"),
        pytest.param({"text": "100%_nothing"}, set(), id="text without wildcards"),
        pytest.param({"until": "2001-01-01 00:00"}, set(), id="before everything"),
        pytest.param({"stream": "nothing"}, set(), id="no such stream"),
    ],
)
def test_filters_in_the_address_narrow_the_list(query, kinds, proposer, client) -> None:
    a_run(proposer)

    page = client.get("/trace", query)

    found = page.content.decode()
    listed = {
        kind
        for kind in Event.objects.values_list("kind", flat=True)
        if f'data-kind="{kind}"' in found
    }
    assert page.status_code == 200
    assert kinds <= listed
    assert bool(kinds) == bool(rows(page, "trace-row"))


def test_a_trace_id_finds_everything_that_belongs_together(proposer, client) -> None:
    run = a_run(proposer)

    page = client.get("/trace", {"trace_id": run.trace_id})

    assert rows(page, "trace-row") == Event.objects.filter(stream_id=run.stream).count()


@pytest.mark.parametrize(
    "query",
    [
        "trace_id=nonsense",
        "since=yesterday",
        "since=2030-01-01&until=2020-01-01",
        "before=-1",
        "before=99999999999999999999999",
        "before=x",
        "kind=" + "x" * 500,
        "kind=gates",
        "kind=test.unknown",
        "actor=user:999999",
        "actor=user:",
        "skill=no-such-skill",
        "decision=maybe",
        "tz=Nowhere/Town",
        "until=2001-02-30",
        "since=0001-01-01T00:00&tz=Asia/Tokyo",
    ],
)
def test_a_wrong_filter_is_an_error_and_no_event_is_shown(
    query, proposer, client
) -> None:
    a_run(proposer)

    page = client.get(f"/trace?{query}")
    export = client.get(f"/trace/export.csv?{query}")

    assert page.status_code == export.status_code == 422
    assert rows(page, "trace-invalid") == 1
    assert rows(page, "trace-row") == 0
    assert ('aria-invalid="true"' in page.content.decode()) == (
        not query.startswith(("before", "tz"))
    )


def test_pages_follow_each_other_without_gap_or_repeat(proposer, client) -> None:
    for number in range(120):
        audit.append(
            "registry",
            [Fact("test.note", {"n": number})],
            by=proposer.actor(),
            at=clock.now(),
        )
    seen: list[str] = []
    address = "/trace?kind=test.note"

    while address:
        page = client.get(address).content.decode()
        seen += [part.split('"')[0] for part in page.split('data-seq="')[1:]]
        _, _, rest = page.partition('<a class="button" href="?')
        address = "/trace?" + rest.split('"')[0].replace("&amp;", "&") if rest else ""

    assert len(seen) == len(set(seen)) == 120
    assert seen == sorted(seen, key=int, reverse=True)


def test_an_untouched_stream_is_verified_and_a_changed_byte_is_named(
    proposer, operator, client
) -> None:
    run = a_run(proposer)
    decided(open_gate(run), operator)
    count = Event.objects.filter(stream_id=run.stream).count()
    whole = client.get("/trace", {"stream": run.stream})

    tamper(run.stream, 2)
    broken = client.get("/trace", {"stream": run.stream})

    assert f"Verified {count} of {count}" in words(whole)
    assert rows(whole, "verification-broken") == 0
    assert 'data-testid="verification-broken" data-seq="2"' in broken.content.decode()
    text = words(broken)
    assert "Broken at event 2" in text
    event = Event.objects.get(stream_id=run.stream, seq=2)
    assert bytes(event.hash).hex() in text


def test_a_removed_event_is_named(proposer, client) -> None:
    run = a_run(proposer)
    past_the_product(
        "DELETE FROM audit_event WHERE stream = %s AND seq = 1", run.stream
    )

    page = client.get("/trace", {"stream": run.stream})

    assert "Broken at event 1" in words(page)
    assert "an event is missing" in words(page)


@pytest.mark.parametrize("forged", ['"x"', "7", "[1]"])
def test_an_event_with_a_forged_approval_is_listed_as_broken(
    forged, proposer, client
) -> None:
    run = a_run(proposer)
    event = Event.objects.get(stream=run.stream, kind="gate.requested")
    body = bytes(event.body).replace(f'"{open_gate(run).pk}"'.encode(), forged.encode())
    past_the_product(
        "UPDATE audit_event SET body = %s WHERE stream = %s AND seq = %s",
        body,
        run.stream,
        event.seq,
    )

    page = client.get("/trace", {"stream": run.stream})
    one = client.get(f"/trace/{run.stream}/{event.seq}")

    assert body != bytes(event.body)
    assert f"Broken at event {event.seq}" in words(page)
    assert one.status_code == 200


def test_the_whole_record_is_verified_by_a_job(proposer, client) -> None:
    run = a_run(proposer)
    count = Event.objects.count()

    whole = _verified(client)
    tamper(run.stream, 1)
    broken = _verified(client)
    part = client.get(
        "/trace/verify", {"stream": run.stream}, headers={"HX-Request": "true"}
    )

    assert f"Verified {count} of {count}" in words(whole)
    assert "Broken at event 1 of" in words(broken)
    assert run.stream in words(broken)
    assert re.search(r"1 of \d+ streams is broken", words(broken))
    assert rows(client.get("/trace/verify"), "verification-row") == 2
    assert "<html" not in part.content.decode()
    assert "Broken at event 1" in words(part)
    assert client.get("/trace/verify?stream=nothing").status_code == 404


def _verified(client: Client) -> Any:
    """Return the page of a new job before and after a worker has run it."""
    address = client.post("/trace/verify").url
    waiting = client.get(address)
    assert 'hx-trigger="every 1s"' in waiting.content.decode()
    pk = UUID(address.rpartition("/")[2])
    jobs.work(job_id=pk, at=clock.now())
    ended = client.get(address)
    assert 'hx-trigger="every' not in ended.content.decode()
    return ended


def test_a_changed_row_is_named_on_the_page_and_the_badge(proposer, client) -> None:
    run = a_run(proposer)
    Run.objects.filter(pk=run.pk).update(proposer_name="forged-name")

    page = client.get("/trace", {"stream": run.stream})
    badge = client.get(f"/runs/{run.pk}/verified")

    assert rows(page, "verification-differs") == 1
    assert "runs_run.proposer_name" in words(page)
    assert "forged-name" in words(page)
    assert "Stored data differs from the trace" in words(badge)


def test_an_event_has_an_address_of_its_own(proposer, client) -> None:
    run = a_run(proposer)

    page = client.get(f"/trace/{run.stream}/1")

    assert page.status_code == 200
    assert "proposer proposed Hand a value on" in words(page)
    assert "run.proposed" in words(page)
    assert "Component run:hand-on" in words(page)
    assert f"Session {run.trace_id[:16]}" in words(page)
    for seq in ["0", "999", "9" * 30]:
        assert client.get(f"/trace/{run.stream}/{seq}").status_code == 404


def test_who_may_not_browse_the_record_still_reads_that_of_their_run(
    proposer, operator, second_operator
) -> None:
    run, client = a_run(proposer), signed_in(proposer)
    other = a_run(operator)

    refused = client.get("/trace")

    assert refused.status_code == 403
    assert codes(refused) == ["auth.right_missing"]
    assert client.get("/trace", {"stream": run.stream}).status_code == 200
    assert client.get(f"/trace/{run.stream}/1").status_code == 200
    assert client.get("/trace/verify", {"stream": run.stream}).status_code == 200
    for stream in [other.stream, "registry", "run:nonsense", "run:"]:
        assert client.get("/trace", {"stream": stream}).status_code == 403
    assert client.get(f"/trace/{other.stream}/1").status_code == 403
    assert client.get("/trace/verify").status_code == 403
    assert client.post("/trace/verify").status_code == 403


def test_hostile_text_in_an_event_is_marked(proposer, client) -> None:
    payload = {"reason": "<script>alert(1)</script> \u202eevil"}
    audit.append(
        "registry", [Fact("test.note", payload)], by=proposer.actor(), at=clock.now()
    )

    event = Event.objects.get(kind="test.note")

    listed = client.get("/trace?kind=test.note").content.decode()
    page = client.get(f"/trace/registry/{event.seq}").content.decode()

    for text in (listed, page):
        assert "<script>alert" not in text
        assert "\u202e" not in text
    assert "⟦U+202E⟧" in page
    assert "⟦U+202E⟧" in listed


def test_more_events_make_no_more_queries(
    proposer, client, django_assert_max_num_queries
) -> None:
    run = a_run(proposer)
    for number in range(60):
        audit.append(
            run.stream,
            [Fact("test.note", {"n": number})],
            by=proposer.actor(),
            at=clock.now(),
        )

    with django_assert_max_num_queries(AIM):
        client.get("/trace")
    with django_assert_max_num_queries(AIM + VERIFYING):
        client.get("/trace", {"stream": run.stream})
    with django_assert_max_num_queries(AIM + VERIFYING):
        client.get(f"/trace/{run.stream}/1")
