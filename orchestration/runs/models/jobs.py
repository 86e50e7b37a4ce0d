"""Dry runs, and failures of the keeper."""

from django.db import models
from django.db.models import Q

from execfabric.infra.fields import Uuid7Key
from orchestration.runs.domain.states import FINAL_DRY_RUN, DryRunState

# Plain text: a migration must not import the current states.
ENDED = sorted(map(str, FINAL_DRY_RUN))
ENDED_EARLY = [str(DryRunState.FAILED), str(DryRunState.INCOMPLETE)]
QUEUED, RUNNING = str(DryRunState.QUEUED), str(DryRunState.RUNNING)


class DryRun(models.Model):
    """The dry run of a plan, with or without a proposed run."""

    id = Uuid7Key()
    run = models.ForeignKey(
        "runs.Run", on_delete=models.PROTECT, null=True, related_name="dry_runs"
    )
    """The proposed run; after an edit it has another one, of the edited plan."""
    actor = models.CharField(max_length=60)
    actor_owner = models.CharField(max_length=60, blank=True)
    source = models.TextField(blank=True)
    """The text of the plan; empty for a proposed run, whose revision stores it."""
    body = models.BinaryField()
    """The plan's normal form as RFC 8785 JSON."""
    digest = models.CharField(max_length=64)
    inputs = models.JSONField()
    pins = models.JSONField()
    order = models.JSONField()
    """The paths of its steps in order of execution."""
    state = models.CharField(max_length=12, default=QUEUED)
    reason = models.TextField(blank=True)
    """A sentence that says why the dry run is incomplete or failed."""
    steps_done = models.PositiveIntegerField(default=0)
    steps_total = models.PositiveIntegerField()
    report = models.JSONField(null=True)
    tries = models.PositiveIntegerField(default=0)
    fence = models.PositiveIntegerField(default=0)
    """Incremented by each claim; only the latest claim may write a report."""
    worker = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True)
    hinted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="dry_run_state_is_known",
                condition=Q(state__in=sorted(map(str, DryRunState))),
            ),
            models.CheckConstraint(
                name="dry_run_finished_at_iff_final",
                condition=Q(state__in=ENDED, finished_at__isnull=False)
                | (~Q(state__in=ENDED) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="dry_run_lease_iff_running",
                condition=(Q(state=RUNNING, lease_until__isnull=False) & ~Q(worker=""))
                | (~Q(state=RUNNING) & Q(lease_until__isnull=True, worker="")),
            ),
            models.CheckConstraint(
                name="dry_run_reason_iff_ended_early",
                condition=(Q(state__in=ENDED_EARLY) & ~Q(reason=""))
                | (~Q(state__in=ENDED_EARLY) & Q(reason="")),
            ),
            models.CheckConstraint(
                name="dry_run_finished_has_report",
                condition=~Q(state=str(DryRunState.FINISHED)) | Q(report__isnull=False),
            ),
            models.CheckConstraint(
                name="dry_run_steps_are_bounded",
                condition=Q(steps_done__lte=models.F("steps_total")),
            ),
            models.UniqueConstraint(
                fields=["worker"],
                name="dry_run_one_per_worker",
                condition=Q(state=RUNNING),
            ),
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                name="dry_run_unfinished",
                condition=Q(state__in=[QUEUED, RUNNING]),
            ),
            models.Index(
                fields=["finished_at"],
                name="dry_run_of_no_run",
                condition=Q(run__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"dry run {self.id}"

    @property
    def is_ended(self) -> bool:
        return self.state in FINAL_DRY_RUN


class SweepFailure(models.Model):
    """A run, or a dry run without a run, for which the last sweeps failed."""

    subject = models.UUIDField(primary_key=True)
    duty = models.CharField(max_length=20)
    failures = models.PositiveIntegerField()
    """Failures in a row; a success removes the row."""
    retry_at = models.DateTimeField()
    reported = models.BooleanField(default=False)
    """True once the failure is recorded in the stream of the run."""

    def __str__(self) -> str:
        return f"{self.duty} of {self.subject}"
