"""What another release left in the database: newer contracts and plans, other code."""

import json
from dataclasses import replace
from inspect import signature

import pytest
from django.db import connection

from approvals.models import Gate
from audit import selectors as record
from execfabric.lib import canonical, clock
from execfabric.lib.actor import system
from orchestration.plans.models import PlanRevision
from orchestration.runs import tasks
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Run
from orchestration.runs.tasks import follow
from orchestration.skills import selectors
from orchestration.skills.domain import code
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain.code import EARLIER
from orchestration.skills.errors import ContractUnreadable
from orchestration.skills.models import DIGEST_DOMAIN, Skill, SkillVersion
from orchestration.skills.services import registry as skills
from orchestration.skills.services import sync, versions
from orchestration.skills.services.sync import Happened
from tests.builders import approved, decided, driven, open_gate, plan, states, step
from tests.console_builders import rows, signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]
OTHER = "0" * 64
"""A digest of code as the first release took it."""


def published(slug: str, *, code_digest: str = "", **fields) -> SkillVersion:
    """Write a new current version of a skill, as another release would."""
    skill = Skill.objects.get(slug=slug)
    contract = replace(skill.current.contract(), version="7.0.0", **fields)
    draft = versions.write_draft(
        skill, contract, shipped=None, by=system("test"), at=clock.now()
    )
    if code_digest:
        content = draft.content()
        content["code"] = dict.fromkeys(content["code"], code_digest)
        draft.body = canonical.dumps(content)
        draft.digest = canonical.digest(DIGEST_DOMAIN, draft.body).hex()
        draft.save()
    return versions.make_current(draft, by=system("test"), at=clock.now())


@pytest.fixture
def newer(monkeypatch):
    """Turn this process into the newer release, and back with a call."""
    selectors._parsed.cache_clear()
    monkeypatch.setattr(contracts, "FEATURES", frozenset({"lasers"}))

    def older() -> None:
        selectors._parsed.cache_clear()
        monkeypatch.setattr(contracts, "FEATURES", frozenset())

    yield older
    selectors._parsed.cache_clear()


@pytest.fixture
def deploy(monkeypatch):
    """Bind the laboratory to code of the release before; a call deploys other code."""
    monkeypatch.setitem(EARLIER, OTHER, code.digest_of("tests.handlers"))
    published("lab", code_digest=OTHER)

    def deployed() -> None:
        monkeypatch.setitem(EARLIER, OTHER, f"{code.FORM}{OTHER}")

    return deployed


CHANGED = "The code of lab.{} has changed since it was approved."


def test_the_same_code_in_an_older_form_runs_without_being_asked_for(
    deploy, proposer, operator, worker
) -> None:
    run = driven(approved(plan(step("one")), proposer, operator), worker)

    assert run.state == "succeeded"
    assert Gate.objects.filter(context_id=run.id).count() == 1


def test_a_step_whose_code_has_changed_asks_again_and_then_runs(
    deploy, proposer, operator, worker
) -> None:
    run = approved(plan(step("one"), step("two", after="one")), proposer, operator)
    deploy()

    driven(run, worker)
    gate = open_gate(run, "one")
    shown = canonical.loads(bytes(gate.subject))
    asked = states(run)
    for key in ("one", "two"):
        decided(open_gate(run, key), operator)
        driven(run, worker)

    run.refresh_from_db()
    assert asked == {"one": "gated", "two": "pending"}
    assert gate.reasons == [CHANGED.format("echo@1")]
    assert shown["code"] == code.digest_of("tests.handlers")
    assert run.state == "succeeded"


def test_an_approval_of_the_old_code_is_void_and_nothing_runs_before_the_new_one(
    deploy, proposer, operator, worker, witness
) -> None:
    text = plan(step("effect", "witness-gated", params={"mark": "agreed"}))
    run = driven(approved(text, proposer, operator), worker)
    first = decided(open_gate(run, "effect"), operator)
    deploy()

    driven(run, worker)
    before = witness.read()
    decided(open_gate(run, "effect"), operator)
    driven(run, worker)

    first.refresh_from_db()
    run.refresh_from_db()
    voided = [
        record.envelope(event)["payload"]["reason"]
        for event in record.events_after(run.stream, 0)
        if event.kind == "step.gate_voided"
    ]
    assert (before, len(witness.read())) == ([], 1)
    assert (first.status, run.state) == ("superseded", "succeeded")
    assert voided == [CHANGED.format("witness@1")]


def test_code_that_returns_more_than_the_version_declares_has_still_succeeded(
    proposer, operator, worker
) -> None:
    closed = {"additionalProperties": False, "properties": {"value": {}}}
    actions = Skill.objects.get(slug="lab").current.contract().actions
    published(
        "lab",
        actions=tuple(replace(one, output_schema=closed) for one in actions),
    )
    text = plan(step("one", params={"value": 1, "more": 2}))

    run = driven(approved(text, proposer, operator), worker)

    assert (run.state, run.steps.get().output) == ("succeeded", {"value": 1})


def test_a_key_of_a_newer_release_is_ignored_and_a_required_feature_is_not() -> None:
    value = contracts.as_json(Skill.objects.get(slug="noop").current.contract())
    value["colour"] = "green"
    value["actions"][0]["shape"] = {"round": True}
    value["actions"][0]["retry"]["jitter"] = 0.5

    read = contracts.from_json(json.loads(json.dumps(value)))

    assert read == Skill.objects.get(slug="noop").current.contract()
    for wrong in (
        value | {"requires": ["lasers"]},
        value | {"actions": [value["actions"][0] | {"risk": "unheard-of"}]},
        value | {"actions": None},
    ):
        with pytest.raises(ContractUnreadable):
            contracts.from_json(wrong)


def test_a_skill_that_cannot_be_read_leaves_the_others_as_they_are(
    newer, admin, proposer, operator, worker
) -> None:
    published("report", requires=("lasers",))
    newer()
    client = signed_in(admin)

    listed, page = client.get("/skills"), client.get("/skills/report")
    synced = {one.slug: one.happened for one in sync.sync(at=clock.now())}
    run = driven(approved(plan(step("one")), proposer, operator), worker)

    assert rows(listed, "skill-row") == Skill.objects.count()
    assert "Written by a newer release" in words(listed)
    assert page.status_code == 200
    assert "A newer release wrote this version" in words(page)
    assert synced["report"] is Happened.FAILED
    assert set(synced.values()) == {Happened.FAILED, Happened.UNCHANGED}
    assert run.state == "succeeded"


def test_a_step_of_a_skill_that_cannot_be_read_says_so_and_the_run_waits(
    newer, proposer, operator, worker
) -> None:
    published("lab", requires=("lasers",))
    run = approved(plan(step("one")), proposer, operator)
    newer()

    driven(run, worker)

    run.refresh_from_db()
    error = run.steps.get().error
    assert run.state == "paused"
    assert error["code"] == "skill.contract_unreadable"
    assert "it requires lasers" in error["message"]


def test_a_plan_that_cannot_be_read_does_not_stop_the_keeper(
    proposer, operator
) -> None:
    unreadable, other = (
        approved(plan(step("one"), id=name), proposer, operator)
        for name in ("unreadable", "other")
    )
    revision = PlanRevision.objects.get(pk=unreadable.revision_id)
    value = canonical.loads(bytes(revision.body))
    value["steps"][0]["moon"] = "full"
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE plans_planrevision DISABLE TRIGGER USER")
        cursor.execute(
            "ALTER TABLE plans_planrevision"
            " DROP CONSTRAINT plan_revision_digest_is_of_body"
        )
    PlanRevision.objects.filter(pk=revision.pk).update(body=canonical.dumps(value))
    Run.objects.filter(pk__in=[unreadable.pk, other.pk]).update(state="pausing")

    swept = sweep.sweep(at=clock.now())

    runs = [Run.objects.get(pk=run.pk).state for run in (unreadable, other)]
    assert runs == ["pausing", "paused"]
    assert swept.confirmed == 1
    page = signed_in(operator).get(f"/runs/{unreadable.pk}")
    assert page.status_code == 409
    assert "unknown moon" in words(page)


@pytest.mark.django_db(transaction=True)
def test_a_hint_with_more_than_this_release_knows_is_taken(
    proposer, operator, worker
) -> None:
    run = approved(plan(step("a")), proposer, operator)
    signature(tasks.work_on.run).bind(step_run_id="1", urgency=3)

    assert follow(f"{run.steps.get().id} urgency=3", worker) == 1


def test_restored_a_skill_is_bound_to_the_code_that_is_installed_then(
    admin, deploy
) -> None:
    at, by = clock.now(), admin.actor()
    skills.set_state(slug="lab", event="quarantined", reason="Bad.", by=by, at=at)
    deploy()
    sync.sync(at=at)
    kept = Skill.objects.get(slug="lab").current.version

    skills.set_state(slug="lab", event="restored", reason="Good.", by=by, at=at)

    skill = Skill.objects.get(slug="lab")
    assert (kept, skill.current.version) == ("7.0.0", "7.0.1")
    assert not sync.mismatches()
    assert skill.current.published_by == "system:setup"


def test_deprecated_a_skill_gets_the_new_code_and_stays_deprecated(
    admin, deploy
) -> None:
    at, by = clock.now(), admin.actor()
    skills.set_state(slug="lab", event="deprecated", reason="Old.", by=by, at=at)
    deploy()

    done = {one.slug: one for one in sync.sync(at=at)}

    skill = Skill.objects.get(slug="lab")
    assert (skill.state, skill.current.version) == ("deprecated", "7.0.1")
    assert not [one for one in done.values() if one.happened is Happened.FAILED]
