"""Schedules with their firings, webhooks with their deliveries."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from execfabric.infra.checks import iff, is_not_blank, is_one_of, is_set
from execfabric.infra.fields import Uuid7Key
from execfabric.lib.actor import Actor
from orchestration.plans.models import Plan
from orchestration.runs.models import Run
from orchestration.triggers.domain.firings import CatchUp, Outcome, Overlap
from orchestration.triggers.domain.states import TriggerState

MOST_REFUSALS = 5
"""Refusals in a row after which a schedule pauses itself."""


class Trigger(models.Model):
    """What proposes runs of a saved plan in the name of its owner."""

    id = Uuid7Key()
    name = models.CharField(max_length=100)
    plan: "models.ForeignKey[Plan, Plan]"
    revision = models.PositiveIntegerField(null=True)
    """The number of the revision; null for the newest each time."""
    inputs = models.JSONField()
    """The inputs that are the same for each run."""
    owner = models.CharField(max_length=60)
    """The key of the user in whose name it proposes."""
    owner_name = models.CharField(max_length=150)
    state = models.CharField(max_length=10, default=str(TriggerState.ACTIVE))
    created_at = models.DateTimeField()
    version = models.BigIntegerField(default=0)
    """Incremented by each change; a firing is written only if it is unchanged."""

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                name="%(class)s_state_is_known",
                condition=is_one_of("state", TriggerState),
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def kind(self) -> str:
        return str(self._meta.model_name)

    @property
    def stream(self) -> str:
        return f"{self.kind}:{self.pk}"

    @property
    def is_active(self) -> bool:
        return self.state == TriggerState.ACTIVE

    def owned_by(self) -> Actor:
        """Return the owner, in whose name it proposes."""
        return Actor.stored(self.owner, self.owner_name, "")


class TriggerResult(models.Model):
    """The run that a trigger proposed, or why it proposed none; insert-only."""

    id = Uuid7Key()
    outcome = models.CharField(max_length=10)
    code = models.CharField(max_length=60, blank=True)
    """Why no run was proposed."""
    message = models.TextField(blank=True)
    run: "models.OneToOneField[Run | None, Run | None]"
    at = models.DateTimeField()

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                name="%(class)s_run_iff_proposed",
                condition=iff(is_set("run"), is_one_of("outcome", [Outcome.PROPOSED])),
            )
        ]


class Schedule(Trigger):
    """A saved plan whose runs are proposed at the times of a cron expression."""

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="schedules")
    cron = models.CharField(max_length=100)
    zone = models.CharField(max_length=64)
    catch_up = models.CharField(max_length=10)
    overlap = models.CharField(max_length=10)
    reason = models.TextField(blank=True)
    """Why it is paused, if it paused itself."""
    refusals = models.PositiveSmallIntegerField(default=0)
    """Refusals in a row."""
    next_at = models.DateTimeField(null=True)
    """The earliest time that has not been decided."""
    tries = models.PositiveSmallIntegerField(default=0)
    """Failed tries of the firing that is due."""
    retry_at = models.DateTimeField(null=True)
    """The time until which keepers leave it alone: after a failed try, while it waits for
    its last run, or because one of them is about to fire it."""

    class Meta(Trigger.Meta):
        constraints = [
            *Trigger.Meta.constraints,
            models.CheckConstraint(
                name="schedule_next_at_iff_active",
                condition=iff(
                    is_set("next_at"), is_one_of("state", [TriggerState.ACTIVE])
                ),
            ),
            models.CheckConstraint(
                name="schedule_policies_are_known",
                condition=Q(is_one_of("catch_up", CatchUp))
                & Q(is_one_of("overlap", Overlap)),
            ),
            models.CheckConstraint(
                name="schedule_refusals_are_bounded",
                condition=Q(refusals__lte=MOST_REFUSALS),
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_at"],
                name="schedule_due",
                condition=Q(next_at__isnull=False),
            )
        ]


class Firing(TriggerResult):
    """What a schedule did at one time, or why it skipped a row of times; insert-only."""

    schedule = models.ForeignKey(
        Schedule, on_delete=models.PROTECT, db_index=False, related_name="firings"
    )
    run = models.OneToOneField(
        Run, on_delete=models.PROTECT, null=True, related_name="firing"
    )
    due_at = models.DateTimeField()
    last_due_at = models.DateTimeField()
    """The last of the skipped times; else the same as `due_at`."""
    count = models.PositiveIntegerField(default=1)
    """The number of skipped times; else 1."""

    class Meta(TriggerResult.Meta):
        constraints = [
            *TriggerResult.Meta.constraints,
            models.UniqueConstraint(
                fields=["schedule", "due_at"], name="firing_is_once"
            ),
            models.CheckConstraint(
                name="firing_outcome_is_known",
                condition=is_one_of("outcome", Outcome),
            ),
            models.CheckConstraint(
                name="firing_code_iff_no_run",
                condition=iff(
                    is_not_blank("code"),
                    is_one_of("outcome", [Outcome.SKIPPED, Outcome.REFUSED]),
                ),
            ),
            models.CheckConstraint(
                name="firing_only_skips_have_a_range",
                condition=Q(count=1, last_due_at=F("due_at"))
                | Q(
                    outcome=str(Outcome.SKIPPED),
                    count__gt=1,
                    last_due_at__gt=F("due_at"),
                ),
            ),
        ]
        indexes = [
            # For the last runs of a schedule that has skipped many times.
            models.Index(
                fields=["schedule", "-due_at"],
                name="firing_runs",
                condition=Q(run__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.due_at:%Y-%m-%d %H:%M}"


class Hook(Trigger):
    """An address to which another system sends signed requests that propose runs."""

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="hooks")
    mapping = models.JSONField()
    """By name of an input: the JSON Pointer to its value in the body."""
    salt = models.CharField(max_length=64)
    """The secret is derived from it and `SECRET_KEY`."""
    old_salt = models.CharField(max_length=64, blank=True)
    """That of the secret before the last rotation."""
    old_until = models.DateTimeField(null=True)
    """The time until which the old secret is valid."""
    rejected = models.BigIntegerField(default=0)
    """Requests without a valid signature, which anyone can send."""
    rejected_at = models.DateTimeField(null=True)
    rejected_code = models.CharField(max_length=60, blank=True)

    class Meta(Trigger.Meta):
        constraints = [
            *Trigger.Meta.constraints,
            models.CheckConstraint(
                name="hook_old_salt_iff_old_until",
                condition=iff(is_set("old_until"), is_not_blank("old_salt")),
            ),
        ]

    def has_old_secret(self, at: datetime) -> bool:
        """Return True while the secret before the last rotation is valid."""
        return self.old_until is not None and at < self.old_until


class Delivery(TriggerResult):
    """A signed request to a webhook, and the run that it proposed; insert-only."""

    hook = models.ForeignKey(
        Hook, on_delete=models.PROTECT, db_index=False, related_name="deliveries"
    )
    run = models.OneToOneField(
        Run, on_delete=models.PROTECT, null=True, related_name="delivery"
    )
    webhook_id = models.CharField(max_length=200)
    body_digest = models.CharField(max_length=64)
    """SHA-256 of the body."""

    class Meta(TriggerResult.Meta):
        constraints = [
            *TriggerResult.Meta.constraints,
            # A proposed run has no code, so there is one for each webhook-id. A repeated
            # refusal adds no row.
            models.UniqueConstraint(
                fields=["hook", "webhook_id", "code"], name="delivery_is_once"
            ),
            models.CheckConstraint(
                name="delivery_outcome_is_known",
                condition=is_one_of("outcome", [Outcome.PROPOSED, Outcome.REFUSED]),
            ),
            models.CheckConstraint(
                name="delivery_code_iff_refused",
                condition=iff(
                    is_not_blank("code"), is_one_of("outcome", [Outcome.REFUSED])
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.webhook_id} to {self.hook_id}"
