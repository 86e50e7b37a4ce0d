"""Saved plans: who owns one, who may see, start and change it, and what is recorded."""

import re
from functools import partial

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from approvals.errors import Unsatisfiable
from execfabric.identity.errors import RightMissing
from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.plans import selectors
from orchestration.plans.errors import (
    PlanIdTaken,
    PlanInvalid,
    PlanUnknown,
    RevisionUnknown,
)
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services import check, comparing
from orchestration.plans.services.saving import STREAM
from orchestration.plans.urls import urlpatterns as plan_urls
from orchestration.runs.errors import KeyReused
from orchestration.runs.models import Run
from orchestration.runs.urls import urlpatterns as run_urls
from orchestration.trace.services import streams
from tests.builders import may_start, plan, proposed, step
from tests.database import at_once
from tests.integration.saved_plan_builders import (
    INPUTS,
    OTHER,
    TEXT,
    VIEW,
    events,
    grant,
    save,
    start,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


def test_a_saved_plan_is_stored_without_a_run_and_recorded(proposer) -> None:
    first = save(TEXT, proposer)
    again = save(TEXT, proposer)
    second = save(OTHER, proposer)

    assert (first.number, again.pk, second.number) == (1, first.pk, 2)
    assert first.source == TEXT
    assert first.name == "Laboratory plan"
    assert not Run.objects.exists()
    assert [(kind, fact["revision"]) for kind, fact in events()] == [
        ("plan.saved", 1),
        ("plan.saved", 2),
    ]


def test_a_plan_that_is_not_valid_is_not_saved(proposer, auditor) -> None:
    with pytest.raises(PlanInvalid):
        save(plan(step("a", "missing")), proposer)
    with pytest.raises(RightMissing):
        save(TEXT, auditor)

    assert not Plan.objects.exists()


def test_an_id_that_is_the_address_of_a_page_is_refused(proposer) -> None:
    routes = [str(route.pattern) for route in [*run_urls, *plan_urls]]
    pages = {
        word for route in routes for word in re.findall(r"^plans/([\w-]+)$", route)
    }
    assert pages == check.RESERVED_IDS

    for page in pages:
        with pytest.raises(PlanIdTaken, match="is reserved"):
            save(plan(step("a"), id=page), proposer)


def test_unchanged_content_is_proposed_without_a_right_on_the_plan(
    proposer, second
) -> None:
    revision = save(TEXT, proposer)

    run = proposed(TEXT, second, {"word": "x"})

    assert run.revision_id == revision.pk
    with pytest.raises(PlanIdTaken, match="right to edit it"):
        proposed(OTHER, second, {"word": "x"})


def test_unchanged_content_of_a_hidden_plan_is_not_saved_again(
    proposer, second
) -> None:
    save(TEXT, proposer)

    with pytest.raises(PlanIdTaken, match="has saved the same content"):
        save(TEXT, second)

    assert PlanRevision.objects.count() == 1


def test_a_run_that_only_its_author_could_approve_is_refused(
    proposer, operator
) -> None:
    operator.groups.add(Group.objects.get(name=str(Role.PROPOSER)))
    save(TEXT, operator)

    with pytest.raises(Unsatisfiable):
        proposed(TEXT, proposer, {"word": "x"})

    assert not Run.objects.exists()


def test_a_plan_of_an_agent_belongs_to_its_owner(agent, proposer, second) -> None:
    save(TEXT, agent)

    assert selectors.owner_name(Plan.objects.get()) == "proposer"
    assert save(OTHER, proposer).number == 2
    assert start(agent).revision.number == 2
    with pytest.raises(PlanIdTaken):
        save(plan(step("c")), second)


def test_a_right_on_a_plan_of_its_owner_is_also_that_of_the_agent(
    agent, proposer, second
) -> None:
    save(TEXT, second)
    with pytest.raises(PlanUnknown):
        start(agent)

    may_start(proposer)

    assert start(agent).proposer == agent.key


@pytest.mark.django_db(transaction=True)
def test_of_two_users_who_save_a_new_id_at_once_one_owns_it(proposer, second) -> None:
    texts = {proposer: plan(step("a")), second: plan(step("b"))}
    acts = [partial(save, text, by) for by, text in texts.items()]
    outcomes = [getattr(outcome, "number", outcome) for outcome in at_once(*acts)]

    assert sorted(outcomes, key=str) == [1, PlanIdTaken.code]
    assert PlanRevision.objects.count() == 1


def test_a_search_finds_plans_by_id_and_by_their_current_name(proposer) -> None:
    save(plan(step("a"), id="one", name="Nightly load"), proposer)
    save(plan(step("a"), id="one", name="Weekly report"), proposer)
    save(plan(step("a"), id="load-two", name="Other"), proposer)
    visible = selectors.visible_to(proposer.actor())

    def found(text: str) -> list[str]:
        return [each.slug for each in selectors.search(visible, text)]

    assert found("report WEEKLY") == ["one"]
    assert found("load") == ["load-two"]
    assert found("") == ["load-two", "one"]
    assert found("100%_") == []


@pytest.mark.promise("S0.22")
def test_a_chain_saved_once_is_started_by_name_as_the_same_revision(
    proposer, second
) -> None:
    chain = plan(
        step("a", params={"value": "$inputs.word"}),
        step("b", params={"value": "$a.output.value"}, after="a"),
        inputs=INPUTS,
    )
    revision = save(chain, proposer)
    may_start(second)

    runs = [start(proposer, inputs={"word": "one"}), start(second)]

    assert {run.revision_id for run in runs} == {revision.pk}
    assert [run.inputs for run in runs] == [{"word": "one"}, {"word": "x"}]
    assert [run.state for run in runs] == ["awaiting_approval"] * 2


def test_an_older_revision_can_be_started(proposer) -> None:
    save(TEXT, proposer)
    save(OTHER, proposer)

    assert start(proposer).revision.number == 2
    assert start(proposer, number=1).revision.number == 1
    for unknown in (3, 2**60):
        with pytest.raises(RevisionUnknown):
            start(proposer, number=unknown)


def test_a_start_is_refused_like_a_proposal(proposer, auditor) -> None:
    save(TEXT, proposer)
    may_start(auditor)

    with pytest.raises(PlanInvalid) as caught:
        start(proposer, inputs={"word": 7})
    with pytest.raises(RightMissing):
        start(auditor)

    assert [one["code"] for one in caught.value.details["problems"]] == [
        "plan.input_invalid"
    ]
    assert not Run.objects.exists()


def test_a_repeated_start_returns_the_first_run_also_after_a_new_revision(
    proposer,
) -> None:
    save(TEXT, proposer)
    first = start(proposer, idempotency_key="k")
    save(OTHER, proposer)

    assert start(proposer, idempotency_key="k") == first
    with pytest.raises(KeyReused):
        start(proposer, idempotency_key="k", inputs={"word": "other"})
    with pytest.raises(KeyReused):
        start(proposer, idempotency_key="k", number=1)
    assert Run.objects.count() == 1


def test_the_rows_of_saved_plans_are_verified(proposer) -> None:
    save(TEXT, proposer)
    revision = save(OTHER, proposer)
    run = start(proposer)
    grant(VIEW, proposer, group="auditor")
    for stream in (STREAM, run.stream):
        result = streams.verify_stream(stream)
        assert (result.broken, result.differences) == (None, [])

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE plans_planrevision DISABLE TRIGGER insert_only")
        cursor.execute(
            "UPDATE plans_planrevision SET author = 'user:0' WHERE id = %s",
            [revision.pk],
        )

    [difference] = streams.verify_stream(STREAM).differences
    assert (difference.table, difference.column) == ("plans_planrevision", "author")


def test_a_saved_plan_that_no_event_records_is_found(proposer) -> None:
    save(TEXT, proposer)
    made = Plan.objects.create(slug="forged", name="Forged", created_at=clock.now())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO plans_planrevision (id, plan_id, number, body, digest, source,"
            " author, author_name, author_owner, created_at) SELECT gen_random_uuid(),"
            " %s, 1, body, digest, source, author, author_name, author_owner, created_at"
            " FROM plans_planrevision",
            [made.pk],
        )

    tables = {item.table for item in streams.verify_stream(STREAM).differences}

    assert tables == {"plans_plan", "plans_planrevision"}


def test_a_comparison_names_the_changed_risk_and_approval(proposer) -> None:
    before, after = save(TEXT, proposer), save(OTHER, proposer)

    found = comparing.compare(before, after, by=proposer.actor())

    added, removed = found.steps
    assert (added.step, added.change, added.risk.after) == ("b", "added", "high")
    assert "The risk of lab risky is high." in added.gate.after
    assert (removed.step, removed.change) == ("a", "removed")
