"""Plans that are written from saved plans, and runs that are part of another trace."""

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from audit import selectors as audit
from execfabric.lib import clock, ids
from orchestration.plans import examples, selectors
from orchestration.plans.errors import PlanUnknown, RevisionUnknown
from orchestration.plans.services import saving
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from orchestration.trace.services import streams
from tests.api_builders import Caller, token_of
from tests.builders import (
    decided,
    driven,
    end_dry_runs,
    may_start,
    open_gate,
    outputs,
    plan,
    proposed,
    step,
)
from tests.console_builders import signed_in, words
from tests.integration import hook_builders

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

INPUTS = {"type": "object", "properties": {"name": {"type": "string"}}}
TEMPLATE = plan(
    step("build", params={"value": "$inputs.name"}),
    step("test", after="build"),
    id="assemble",
    name="Assemble a service",
    inputs=INPUTS,
)
EDITED = plan(
    step("build", params={"value": "$inputs.name, twice"}),
    step("scan", "risky", after="build"),
    id="assemble-billing",
    name="Assemble billing",
    inputs=INPUTS,
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def stored(operator, second_operator, proposer):
    """Save a template with two revisions, which belongs to someone else."""
    by, at = second_operator.actor(), clock.now()
    saving.save_plan(text=TEMPLATE, by=by, at=at)
    newer = TEMPLATE.replace("Assemble a service", "Assemble a module")
    saving.save_plan(text=newer, by=by, at=at)
    may_start(proposer, "assemble")
    return TEMPLATE


def first_event(run: Run) -> dict:
    return audit.envelope(audit.events_after(run.stream, 0, limit=1)[0])


def post(by, **body) -> dict:
    answer = Caller(token_of(by)).post("runs", body)
    assert answer.status_code == 201, answer.json()
    end_dry_runs()
    return answer.json()


@pytest.mark.promise("S3.4")
def test_a_stored_template_is_opened_edited_and_run(
    stored, proposer, operator, worker
) -> None:
    browser = signed_in(proposer)
    opened = browser.get("/plans/new", {"plan": "assemble", "revision": 1})
    assert opened.context["text"] == stored
    assert opened.context["template"] == "assemble@1"

    form = {"text": EDITED, "opened": "assemble@1", "input.name": "billing"}
    sent = browser.post("/plans/propose", form | {"template": "assemble@1"})
    assert sent.status_code == 302, sent.context["problems"]
    end_dry_runs()
    run = Run.objects.get()

    # What was edited is recorded, and shown to those who approve it.
    approver = signed_in(operator)
    shown = approver.get(f"/gates/{open_gate(run).pk}")
    assert "Written from the saved plan assemble revision 1" in words(shown)
    changes = approver.get(f"/runs/{run.pk}/changes")
    found = {one.step: one.change for one in changes.context["difference"].steps}
    assert found == {"build": "changed", "scan": "added", "test": "removed"}
    named = {"plan": "assemble", "revision": 1, "digest": run.template.digest}
    assert first_event(run)["payload"]["template"] == named
    decided(open_gate(run), operator)
    run = driven(run, worker)
    decided(open_gate(run, "scan"), operator)
    run = driven(run, worker)
    assert run.state == "succeeded"
    assert outputs(run)["build"] == {"value": "billing, twice"}
    assert streams.verify_stream(run.stream).differences == []
    # The template is as it was.
    assert selectors.get(operator.actor(), "assemble").revisions.count() == 2


def test_a_plan_that_is_not_edited_or_not_from_it_names_no_template(
    stored, proposer
) -> None:
    unchanged = post(proposer, plan=stored, inputs={}, template="assemble@1")
    newest = post(proposer, plan=stored, inputs={}, template="assemble")
    browser = signed_in(proposer)
    form = {"text": EDITED, "opened": "assemble@1", "input.name": "billing"}
    browser.post("/plans/propose", form)
    page = browser.post("/plans/propose", {"text": "id: x", "opened": "assemble@1"})

    runs = Run.objects.in_bulk([unchanged["run_id"], newest["run_id"]], field_name="id")
    templates = [row.template and row.template.number for row in runs.values()]
    assert sorted(templates, key=str) == [2, None]
    assert Run.objects.get(revision__plan__slug="assemble-billing").template is None
    assert page.context["is_from_template"] is False


def test_a_dry_run_keeps_the_template_of_its_plan(stored, proposer) -> None:
    browser = signed_in(proposer)
    form = {"text": EDITED, "opened": "assemble@1", "input.name": "billing"}

    sent = browser.post("/plans/dry-run", form | {"template": "assemble@1"})
    shown = browser.get(sent.headers["Location"])
    assert shown.context["text"] == EDITED
    assert shown.context["template"] == "assemble@1"
    assert shown.context["is_from_template"] is True
    # Not recorded if the box was unchecked.
    sent = browser.post("/plans/dry-run", form)
    assert browser.get(sent.headers["Location"]).context["template"] == ""


def test_a_template_is_one_that_the_proposer_may_see(
    stored, proposer, operator
) -> None:
    def propose(template: str) -> Run:
        return proposals.propose(
            text=plan(step("a")),
            inputs={},
            by=proposer.actor(),
            at=clock.now(),
            template=template,
        )

    with pytest.raises(PlanUnknown):
        propose("unknown@1")
    saving.save_plan(
        text=plan(step("a"), id="hidden"), by=operator.actor(), at=clock.now()
    )
    with pytest.raises(PlanUnknown):
        propose("hidden@1")
    for unknown in ("assemble@9", "assemble@x", "assemble@0"):
        with pytest.raises(RevisionUnknown):
            propose(unknown)
    assert propose("assemble@2").template.number == 2
    bad = Caller(token_of(proposer)).post("runs", {"plan": "", "template": "a b"})
    assert bad.status_code == 422


@pytest.mark.promise("S3.89")
def test_templates_are_stored_found_and_compared_in_a_registry(
    operator, second_operator, proposer
) -> None:
    by, at = second_operator.actor(), clock.now()
    for text in examples.pack_texts():
        saving.save_plan(text=text, by=by, at=at)
    shipped = examples.text("assemble-service")
    changed = shipped.replace("name: Assemble a service", "name: Assemble one service")
    saving.save_plan(text=changed, by=by, at=at + timedelta(seconds=1))
    caller = Caller(token_of(operator))

    # Found by words, with owner and number of revisions.
    found = caller.get("plans", q="assemble").json()["items"]
    assert [(one["id"], one["revision"]) for one in found] == [("assemble-service", 2)]
    assert found[0]["owner_name"] == second_operator.username
    # Each revision is stored exactly as written, with its inputs, and never changes.
    first, newest = (
        caller.get("plans/assemble-service", revision=number).json()
        for number in (1, 2)
    )
    assert (first["source"], newest["source"]) == (shipped, changed)
    assert first["digest"] != newest["digest"]
    assert "blueprint" in first["inputs"]["properties"]
    difference = caller.get("plans/assemble-service/diff/1/2").json()
    assert [one["field"] for one in difference["plan"]] == ["name"]
    with pytest.raises(IntegrityError), transaction.atomic():
        selectors.get(by, "assemble-service").revisions.update(source="other")
    # Who may see one is decided for each.
    hidden = Caller(token_of(proposer))
    assert hidden.get("plans", q="assemble").json()["items"] == []
    assert hidden.get("plans/assemble-service").status_code == 404
    may_start(proposer, "assemble-service")
    assert hidden.get("plans/assemble-service").json()["source"] == changed
    # The registry is part of the audit log.
    assert streams.verify_stream("plans").differences == []


@pytest.mark.promise("S3.20")
def test_a_run_carries_its_template_and_the_trace_of_its_parent(
    stored, proposer
) -> None:
    caller = Caller(token_of(proposer))
    headers = {"traceparent": PARENT}
    body = {"plan": EDITED, "inputs": {"name": "x"}, "template": "assemble@1"}
    edited = caller.post("runs", body, **headers).json()
    started = caller.post("plans/assemble/runs", {"revision": 2}, **headers).json()
    alone = proposed(plan(step("a")), proposer)

    runs = [
        caller.get(f"runs/{pk}").json() for pk in (edited["run_id"], started["run_id"])
    ]
    assert runs[0]["template"] == {"plan": "assemble", "revision": 1}
    assert (runs[1]["plan"], runs[1]["revision"]) == ("assemble", 2)
    assert [run["parent_trace_id"] for run in runs] == [TRACE, TRACE]
    assert len({TRACE, *(run["trace_id"] for run in runs)}) == 3
    rows = Run.objects.exclude(pk=alone.pk)
    for row in rows:
        assert first_event(row)["payload"]["parent_trace_id"] == TRACE
    # The other system finds its runs by its own trace id.
    listed = caller.get("runs", trace=TRACE).json()["items"]
    assert {one["id"] for one in listed} == {edited["run_id"], started["run_id"]}
    assert (alone.parent_trace_id, alone.template) == ("", None)
    shown = signed_in(proposer).get(f"/runs/{edited['run_id']}?view=plan")
    assert TRACE in words(shown)
    # A changed row is found.
    rows.update(parent_trace_id="0" * 31 + "1", template=None)
    for row in rows:
        wrong = {one.column for one in streams.verify_stream(row.stream).differences}
        assert "parent_trace_id" in wrong
        assert ("template_id" in wrong) is (str(row.pk) == edited["run_id"])


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (PARENT, TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-brings", TRACE),
        (f"{PARENT}-more", ""),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", ""),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (PARENT.upper(), ""),
        (f"{PARENT}\n", ""),
        ("", ""),
    ],
)
def test_a_header_that_is_not_valid_is_ignored(header, trace) -> None:
    assert ids.parent_trace(header) == trace


@pytest.mark.parametrize(
    "columns", [{"parent_trace_id": "xyz"}, {"parent_trace_id": "own"}, {"template": 0}]
)
def test_a_run_is_not_its_own_parent_or_template(columns, proposer) -> None:
    run = proposed(plan(step("a")), proposer)
    if columns.get("parent_trace_id") == "own":
        columns = {"parent_trace_id": run.trace_id}
    if "template" in columns:
        columns = {"template": run.revision}

    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(**columns)


def test_a_request_to_a_webhook_is_the_parent_of_its_run(proposer, operator) -> None:
    saving.save_plan(text=hook_builders.TEXT, by=proposer.actor(), at=clock.now())
    row, secret = hook_builders.made(proposer)
    body = json.dumps(hook_builders.BODY).encode()
    headers = hook_builders.signed(secret, body) | {"traceparent": PARENT}

    sent = Client().post(
        f"/hooks/{row.pk}", body, content_type="application/json", headers=headers
    )

    assert sent.status_code == 202
    assert Run.objects.get().parent_trace_id == TRACE
