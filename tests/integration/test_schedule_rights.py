"""Schedules: who may have one, and which settings are refused."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group

from execfabric.identity.errors import RightMissing
from execfabric.identity.models import Agent, User
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Role
from orchestration.plans.errors import PlanInvalid, PlanNotPermitted, PlanUnknown
from orchestration.plans.services import saving
from orchestration.triggers import selectors
from orchestration.triggers.domain.firings import CatchUp, Overlap
from orchestration.triggers.errors import (
    CronInvalid,
    FileNotHeld,
    ScheduleChanged,
    ScheduleUnknown,
    TooManyTriggers,
    TriggerNameInvalid,
    TriggerNeedsPerson,
    TriggerNotManaged,
    WaitsForNothing,
    ZoneUnknown,
)
from orchestration.triggers.models import Schedule
from orchestration.triggers.services import common, schedules
from tests.builders import may_start, plan, step
from tests.integration.schedule_builders import (
    NOON,
    as_operator,
    at,
    made,
    settings,
)
from tests.record import is_whole, kinds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry", "unhurried")]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"name": " "}, TriggerNameInvalid),
        ({"name": "x" * 101}, TriggerNameInvalid),
        ({"cron": "0 0 * *"}, CronInvalid),
        ({"zone": "Berlin"}, ZoneUnknown),
        ({"inputs": {}}, PlanInvalid),
        ({"inputs": {"word": 1}}, PlanInvalid),
        ({"overlap": Overlap.WAIT, "catch_up": CatchUp.SKIP}, WaitsForNothing),
    ],
)
def test_settings_that_are_not_valid_are_refused(
    lab_plan, proposer, changes, refusal
) -> None:
    with pytest.raises(refusal):
        made(proposer, **changes)

    assert not Schedule.objects.exists()


def test_only_users_who_may_start_the_plan_create_schedules(
    lab_plan, proposer, operator, stranger
) -> None:
    agent = Agent.objects.create(name="bot", owner=proposer, created_at=clock.now())

    with pytest.raises(PlanNotPermitted):
        made(operator)
    with pytest.raises(RightMissing):
        made(stranger)
    with pytest.raises(TriggerNeedsPerson):
        schedules.create(
            slug="lab-plan", settings=settings(), by=agent.actor(), at=NOON
        )
    may_start(operator)
    assert made(operator).owner == operator.actor().key


def test_a_schedule_holds_no_file(proposer) -> None:
    rule = {"type": "string", "format": "file"}
    needs = {"properties": {"doc": rule}, "required": ["doc"]}
    may = {"properties": {"doc": rule}}
    for number, schema in enumerate((needs, may)):
        text = plan(step("a"), inputs=schema, id=f"files-{number}")
        saving.save_plan(text=text, by=proposer.actor(), at=clock.now())

    def create(slug: str, inputs: dict[str, Any]) -> Schedule:
        return schedules.create(
            slug=slug, settings=settings(inputs=inputs), by=proposer.actor(), at=NOON
        )

    with pytest.raises(FileNotHeld):
        create("files-0", {})
    with pytest.raises(FileNotHeld):
        create("files-1", {"doc": str(uuid4())})
    assert create("files-1", {}).inputs == {}


def test_a_user_has_a_bounded_number_of_schedules(
    lab_plan, proposer, monkeypatch
) -> None:
    monkeypatch.setattr(common, "MOST_OF_A_USER", 1)
    first = made(proposer)

    with pytest.raises(TooManyTriggers):
        made(proposer)
    schedules.delete(schedule_id=first.pk, by=proposer.actor(), at=NOON)
    made(proposer)


def test_owner_and_admins_manage_a_schedule(
    schedule, proposer, operator, admin, stranger
) -> None:
    with pytest.raises(ScheduleUnknown):
        schedules.pause(schedule_id=schedule.pk, by=stranger.actor(), at=NOON)
    with pytest.raises(TriggerNotManaged):
        schedules.pause(schedule_id=schedule.pk, by=operator.actor(), at=NOON)
    schedules.pause(schedule_id=schedule.pk, by=admin.actor(), at=NOON)
    with pytest.raises(Refusal, match="cannot be paused"):
        schedules.pause(schedule_id=schedule.pk, by=admin.actor(), at=NOON)
    resumed = schedules.resume(
        schedule_id=schedule.pk, by=proposer.actor(), at=at(15, 30)
    )
    assert resumed.next_at == at(16, second=0)
    schedules.delete(schedule_id=schedule.pk, by=proposer.actor(), at=at(16))

    assert kinds(schedule)[1:] == [
        "schedule.paused",
        "schedule.resumed",
        "schedule.deleted",
    ]
    assert is_whole(schedule)
    with pytest.raises(ScheduleUnknown):
        selectors.schedule(proposer.actor(), schedule.pk)


def test_a_schedule_that_is_deleted_meanwhile_is_not_changed(
    schedule, proposer, monkeypatch
) -> None:
    options = {"schedule_id": schedule.pk, "by": proposer.actor(), "at": NOON}
    checked = schedules._first_time

    def deleted_meanwhile(*args: Any, **kwargs: Any) -> Any:
        schedules.delete(**options)
        return checked(*args, **kwargs)

    monkeypatch.setattr(schedules, "_first_time", deleted_meanwhile)

    with pytest.raises(ScheduleUnknown):
        schedules.change(settings=settings(name="Later"), **options)
    assert kinds(schedule)[1:] == ["schedule.deleted"]


def test_who_changes_a_schedule_owns_it(schedule, proposer, admin) -> None:
    def change(by: User, **options: Any) -> Schedule:
        return schedules.change(
            schedule_id=schedule.pk,
            settings=settings(cron="30 * * * *"),
            by=by.actor(),
            at=NOON,
            **options,
        )

    with pytest.raises(PlanNotPermitted):
        change(admin)
    may_start(admin)
    changed = change(admin, version=schedule.version)

    assert changed.owner == admin.actor().key
    assert changed.next_at == at(12, 30, 0)
    assert is_whole(schedule)
    with pytest.raises(TriggerNotManaged):
        change(as_operator(proposer))
    with pytest.raises(ScheduleChanged):
        change(admin, version=schedule.version)


def test_a_hidden_plan_is_unknown(lab_plan, stranger) -> None:
    stranger.groups.add(Group.objects.get(name=str(Role.PROPOSER)))

    with pytest.raises(PlanUnknown):
        made(stranger)
