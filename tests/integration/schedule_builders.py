"""Build schedules of the laboratory plan."""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import Group

from execfabric.identity.models import User
from execfabric.lib.rights import Role
from orchestration.triggers.models import Schedule
from orchestration.triggers.services import schedules
from orchestration.triggers.services.schedules import ScheduleSettings
from tests.builders import plan, step

WORD = {"properties": {"word": {"type": "string"}}, "required": ["word"]}
TEXT = plan(step("a", params={"value": "$inputs.word"}), inputs=WORD)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOURLY = "0 * * * *"


def at(hour: int, minute: int = 0, second: int = 1) -> datetime:
    return NOON.replace(hour=hour, minute=minute, second=second)


def settings(**changes: Any) -> ScheduleSettings:
    values = {"name": "Hourly", "cron": HOURLY, "inputs": {"word": "x"}}
    return ScheduleSettings(**(values | changes))


def made(by: User, **changes: Any) -> Schedule:
    return schedules.create(
        slug="lab-plan", settings=settings(**changes), by=by.actor(), at=NOON
    )


def as_operator(user: User) -> User:
    user.groups.add(Group.objects.get(name=str(Role.OPERATOR)))
    return user
