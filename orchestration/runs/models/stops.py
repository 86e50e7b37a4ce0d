"""Stops of the dispatch: which steps must not start, and who says so."""

from django.db import models
from django.db.models import Q

from execfabric.infra.checks import iff, is_not_blank, is_set
from execfabric.infra.fields import Uuid7Key

STREAM = "stops"


class Stop(models.Model):
    """A stop of all steps, or of those of one skill, until it is lifted.

    A trigger on attempts refuses each step that it covers.
    """

    id = Uuid7Key()
    skill = models.CharField(max_length=64, blank=True)
    """The skill whose steps do not start; empty for all steps."""
    reason = models.TextField()
    cancels = models.BooleanField(default=False)
    """True if the runs whose steps it found running are cancelled."""
    set_by = models.CharField(max_length=60)
    set_by_name = models.CharField(max_length=150)
    set_at = models.DateTimeField()
    lifted_by = models.CharField(max_length=60, blank=True)
    lifted_by_name = models.CharField(max_length=150, blank=True)
    lifted_at = models.DateTimeField(null=True)
    lift_reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="stop_has_reason_and_person",
                condition=Q(is_not_blank("reason")) & Q(is_not_blank("set_by")),
            ),
            models.CheckConstraint(
                name="stop_lifted_by_iff_lifted",
                condition=iff(is_set("lifted_at"), is_not_blank("lifted_by")),
            ),
            models.CheckConstraint(
                name="stop_lift_reason_iff_lifted",
                condition=iff(is_set("lifted_at"), is_not_blank("lift_reason")),
            ),
        ]
        indexes = [
            # Each claim looks for the stops that are active.
            models.Index(
                fields=["skill"],
                name="stop_active",
                condition=Q(lifted_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"stop of {self.skill or 'all steps'}"

    @property
    def stream(self) -> str:
        return STREAM

    @property
    def is_active(self) -> bool:
        return self.lifted_at is None
