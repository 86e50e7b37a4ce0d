"""Attempts, and the exact content that they execute."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from execfabric.infra.checks import iff, is_one_of, is_set
from orchestration.runs.domain.states import Phase

OVER = frozenset(Phase) - {Phase.CLAIMED, Phase.INTENT}
"""The phases of a finished attempt."""


class ExecSpec(models.Model):
    """The canonical JSON of one action, stored by its digest; insert-only."""

    digest = models.CharField(max_length=64, primary_key=True)
    body = models.BinaryField()

    def __str__(self) -> str:
        return self.digest


class Attempt(models.Model):
    """One try of a step run by one worker."""

    id = models.BigAutoField(primary_key=True)
    step_run = models.ForeignKey(
        "runs.StepRun",
        on_delete=models.PROTECT,
        db_index=False,
        related_name="attempts",
    )
    fence = models.BigIntegerField()
    generation = models.PositiveIntegerField()
    worker = models.CharField(max_length=120)
    phase = models.CharField(max_length=10)
    spec = models.ForeignKey(ExecSpec, on_delete=models.PROTECT, db_index=False)
    session_id = models.CharField(max_length=16)
    """The id of this attempt in the trace."""
    started_at = models.DateTimeField()
    intent_at = models.DateTimeField(null=True)
    recorded_at = models.DateTimeField(db_default=Now())
    """When it was written, by the clock of the database: those of workers may differ."""
    heartbeat_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    """The error of a failed attempt, or the late result of a fenced one."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step_run", "fence"], name="attempt_has_one_fence"
            ),
            models.UniqueConstraint(
                fields=["step_run"],
                name="attempt_one_live_per_step_run",
                condition=Q(phase__in=[Phase.CLAIMED, Phase.INTENT]),
            ),
            models.CheckConstraint(
                name="attempt_phase_is_known", condition=is_one_of("phase", Phase)
            ),
            models.CheckConstraint(
                name="attempt_ended_at_iff_over",
                condition=iff(is_set("ended_at"), is_one_of("phase", OVER)),
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.fence} of {self.step_run_id}"
