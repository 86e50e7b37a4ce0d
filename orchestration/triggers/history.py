"""The columns of schedules and webhooks that the audit log covers."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet

from audit.history import Table
from orchestration.triggers.models import Delivery, Firing, Hook, Schedule

SCHEDULE = Table(
    Schedule,
    exempt={
        "version": "Counts writes.",
        "tries": "Failed tries of a firing that is still due; changes nothing.",
        "retry_at": "When keepers look at that firing again; changes nothing.",
    },
)
FIRING = Table(Firing)
_ANYONE = "Written for requests without a valid signature, which anyone can send."
HOOK = Table(
    Hook,
    exempt={
        "version": "Counts writes.",
        "rejected": _ANYONE,
        "rejected_at": _ANYONE,
        "rejected_code": _ANYONE,
    },
)
DELIVERY = Table(Delivery)
TRIGGERS: Mapping[type[Model], Table] = {Schedule: SCHEDULE, Hook: HOOK}

Stored = Iterator[tuple[Table, "QuerySet[Any]"]]


def row_of(stream: str) -> tuple[str, UUID] | None:
    """Return kind and id of the trigger that a stream belongs to."""
    kind, _, pk = stream.partition(":")
    try:
        return (kind, UUID(pk)) if kind in {"schedule", "hook"} else None
    except ValueError:
        return None


def stored(kind: str, pk: UUID) -> Stored:
    """Yield the rows that the events of a trigger must record."""
    if kind == "hook":
        yield HOOK, Hook.objects.filter(pk=pk)
        yield DELIVERY, Delivery.objects.filter(hook=pk)
        return
    yield SCHEDULE, Schedule.objects.filter(pk=pk)
    yield FIRING, Firing.objects.filter(schedule=pk)
