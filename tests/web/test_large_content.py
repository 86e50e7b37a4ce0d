"""Pages stay small whatever a plan holds, and every byte of it can still be read."""

import base64
import hashlib
import json
import re
from statistics import median
from time import perf_counter, process_time

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals.models import Gate
from execfabric.identity.models import User
from execfabric.lib import canonical
from tests.builders import open_gate, plan, proposed, step
from tests.console_builders import a_run, rows, signed_in, step_gate, words

pytestmark = pytest.mark.usefixtures("registry")

MOST_BYTES = 300_000
"""Of HTML, before compression."""
MOST_QUERIES = 18
LARGE = [{"id": n, "name": f"row {n}", "ok": True} for n in range(21_000)]
"""0.9 MB as JSON."""
LONG = [{"id": n} for n in range(500)]


def gate_with(rows_: object, proposer: User, operator: User) -> Gate:
    """Open a gate of a step whose parameter has these rows."""
    asks = step("first", params={"rows": rows_}, approval={"reason": "Look at it"})
    return step_gate(proposed(plan(asks), proposer), operator)


def measured(client: Client, address: str) -> HttpResponse:
    """Fetch a page and check its size and queries; its time is printed, not judged."""
    taken, worked = [], []
    for _ in range(3):
        began, busy = perf_counter(), process_time()
        with CaptureQueriesContext(connection) as queries:
            page = client.get(address)
        taken.append(perf_counter() - began)
        worked.append(process_time() - busy)
    times = f"{median(taken) * 1000:.0f} ms, {median(worked) * 1000:.0f} ms of CPU"
    print(f"{address}: {times}, {len(page.content)} bytes, {len(queries)} queries")
    assert page.status_code == 200
    assert len(page.content) < MOST_BYTES
    assert len(queries) <= MOST_QUERIES
    return page


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(plan(step("large", params={"rows": LARGE})), id="0.9 MB"),
        pytest.param(
            plan(*(step(f"s{n}", params={"n": n}) for n in range(300))), id="300 steps"
        ),
    ],
)
def test_gate_and_run_pages_stay_small(text, proposer, operator) -> None:
    run = proposed(text, proposer)
    client = signed_in(operator)

    measured(client, f"/gates/{open_gate(run).pk}")
    measured(client, f"/runs/{run.pk}")
    measured(client, f"/runs/{run.pk}?view=plan")
    measured(client, f"/runs/{run.pk}/steps/{run.steps.first().key}")


def test_a_step_gate_with_a_large_value_stays_small_and_gives_every_byte(
    proposer, operator
) -> None:
    gate = gate_with(LARGE, proposer, operator)
    client = signed_in(operator)

    page = measured(client, f"/gates/{gate.pk}")
    whole = client.get(f"/gates/{gate.pk}/subject.json")

    assert rows(page, "gate-collapsed") == 1
    body = gate.digest_domain.encode() + b"\n" + whole.content
    assert hashlib.sha256(body).hexdigest() == gate.digest_hex
    assert whole["X-ExecFabric-Digest"] == gate.digest_hex
    assert json.loads(whole.content)["params"]["rows"] == LARGE


def test_what_is_collapsed_is_counted_digested_and_downloaded_exactly(
    proposer, operator
) -> None:
    gate = gate_with(LONG, proposer, operator)
    client = signed_in(operator)

    page = client.get(f"/gates/{gate.pk}")
    block = page.content.decode().split('data-testid="collapsed"')[1]
    [href] = re.findall(r'href="(/gates/[^"]+/value[^"]+)"', block)[:1]
    given = client.get(href)

    exact = canonical.dumps({"rows": LONG})
    sha256 = hashlib.sha256(exact)
    assert given.content == exact
    assert "200 of 1001 lines" in words(page)
    assert sha256.hexdigest() in block
    assert given["Content-Disposition"].startswith("attachment;")
    assert given["X-Content-Type-Options"] == "nosniff"
    encoded = base64.b64encode(sha256.digest()).decode()
    assert given["Repr-Digest"] == f"sha-256=:{encoded}:"


def test_content_that_fits_is_not_called_collapsed(proposer, operator) -> None:
    gate = gate_with([], proposer, operator)

    page = signed_in(operator).get(f"/gates/{gate.pk}")

    assert rows(page, "gate-collapsed") == rows(page, "collapsed") == 0


def test_characters_that_deceive_are_named_also_where_they_are_not_drawn(
    proposer, operator
) -> None:
    gate = gate_with([*LONG, "fdp\u202eexe"], proposer, operator)

    page = signed_in(operator).get(f"/gates/{gate.pk}")

    assert rows(page, "gate-deceptive") == 1
    assert words(page).count("It contains controls that reorder text.") >= 2
    assert "\u202e" not in page.content.decode()


def test_every_step_of_a_long_plan_can_be_reached_and_read(proposer, operator) -> None:
    steps = [step(f"s{n}", params={"word": f"w{n}\u200b"}) for n in range(205)]
    gate = open_gate(proposed(plan(*steps), proposer))
    client = signed_in(operator)

    page = client.get(f"/gates/{gate.pk}")
    rest = client.get(f"/gates/{gate.pk}?from=201", headers={"HX-Request": "true"})
    alone = client.get(f"/gates/{gate.pk}?from=201")
    last = client.get(f"/gates/{gate.pk}/steps/204")

    listed = re.findall(r'data-step="(s\d+)"', (page.content + rest.content).decode())
    assert listed == [f"s{n}" for n in range(205)]
    assert "Showing steps 1–200 of 205." in words(page)
    assert "205 of 205 steps are collapsed" in words(page)
    assert 'data-step="s204"' in alone.content.decode()
    assert "w204⟦U+200B⟧" in words(last)
    assert "step s0: It contains invisible characters." in words(page)


@pytest.mark.parametrize("part", ["value?at=/inputs", "steps/0", "subject.json"])
def test_a_stranger_reads_no_part_of_a_gate(part, proposer, stranger) -> None:
    gate = open_gate(a_run(proposer))

    assert signed_in(stranger).get(f"/gates/{gate.pk}/{part}").status_code == 404


@pytest.mark.parametrize(
    "part", ["value?at=/nothing", "value?at=/steps/99", "value?at=/steps/x", "steps/99"]
)
def test_a_part_that_is_not_there_is_not_found(part, proposer, operator) -> None:
    gate = open_gate(a_run(proposer))

    assert signed_in(operator).get(f"/gates/{gate.pk}/{part}").status_code == 404
