"""Verification jobs."""

from django.db import models
from django.db.models import Q

from execfabric.infra.fields import Uuid7Key
from orchestration.trace.domain.states import JOB, JobState

# Plain text, because a migration must not import the current states.
STATES, FINAL = sorted(map(str, JobState)), sorted(map(str, JOB.final))
RUNNING = str(JobState.RUNNING)


class VerificationJob(models.Model):
    """A verification of one stream, or of all, by a worker."""

    id = Uuid7Key()
    stream = models.CharField(max_length=80, blank=True)
    """Empty for the whole audit log."""
    state = models.CharField(max_length=20, default=str(JobState.QUEUED))
    asked_by = models.CharField(max_length=60)
    asked_by_name = models.CharField(max_length=150)
    asked_at = models.DateTimeField()
    hinted_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    """Claims since the last stream was verified."""
    last = models.CharField(max_length=80, blank=True)
    """The last verified stream; another worker continues after it."""
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    events = models.BigIntegerField(default=0)
    outputs = models.BigIntegerField(default=0)
    uncovered = models.BigIntegerField(default=0)
    broken = models.PositiveIntegerField(default=0)
    """The number of streams with findings."""
    findings = models.JSONField(default=list)
    error = models.TextField(blank=True)

    class Meta:
        db_table = "runs_verificationjob"
        constraints = [
            models.CheckConstraint(
                name="verification_state_is_known",
                condition=Q(state__in=STATES),
            ),
            models.CheckConstraint(
                name="verification_lease_iff_running",
                condition=Q(state=RUNNING, lease_until__isnull=False)
                | (~Q(state=RUNNING) & Q(lease_until__isnull=True)),
            ),
            models.CheckConstraint(
                name="verification_finished_at_iff_final",
                condition=Q(state__in=FINAL, finished_at__isnull=False)
                | (~Q(state__in=FINAL) & Q(finished_at__isnull=True)),
            ),
            models.UniqueConstraint(
                name="one_open_verification_per_stream",
                fields=["stream"],
                condition=~Q(state__in=FINAL),
            ),
        ]

    def __str__(self) -> str:
        return f"verification {self.id}"

    @property
    def is_open(self) -> bool:
        return self.state not in JOB.final

    @property
    def is_whole(self) -> bool:
        return self.state == JobState.FINISHED and not self.broken
