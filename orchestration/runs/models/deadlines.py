"""The check constraints and the index of the service levels of runs and steps."""

from django.db import models
from django.db.models import F, Q


def sla_checks(name: str) -> list[models.CheckConstraint]:
    """Return the checks: late if it ended after its due time, and not before it."""
    is_set = Q(breached_at__isnull=False)
    return [
        models.CheckConstraint(
            name=f"{name}_breach_is_after_due",
            condition=~is_set | Q(due_at__isnull=False, breached_at__gt=F("due_at")),
        ),
        models.CheckConstraint(
            name=f"{name}_ended_late_is_breach",
            condition=Q(due_at__isnull=True)
            | Q(finished_at__isnull=True)
            | Q(finished_at__lte=F("due_at"))
            | is_set,
        ),
    ]


def late_index(name: str) -> models.Index:
    """Return the index of what has not ended and is not known to be late."""
    return models.Index(
        fields=["due_at"],
        name=f"{name}_due",
        condition=Q(
            due_at__isnull=False, breached_at__isnull=True, finished_at__isnull=True
        ),
    )
