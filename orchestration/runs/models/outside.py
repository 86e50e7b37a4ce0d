"""A counter of changes outside of runs."""

from django.db import models
from django.db.models import Q


class Outside(models.Model):
    """A counter of changes that affect runs but are not in the events of a run.

    Triggers on skills, policies, users, groups and agents increment the value.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    value = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="outside_has_one_row", condition=Q(id=1))
        ]

    def __str__(self) -> str:
        return str(self.value)
