"""Events from outside, the waits for them, and which event ended which wait."""

from uuid import UUID

from django.db import models
from django.db.models import Q

from execfabric.infra.fields import Uuid7Key


class ExternalEvent(models.Model):
    """An event that a user, an agent or another system has sent; insert-only."""

    id = Uuid7Key()
    type = models.CharField(max_length=100)
    key = models.CharField(max_length=200, blank=True)
    payload = models.JSONField()
    sender = models.CharField(max_length=60)
    sender_name = models.CharField(max_length=150)
    idempotency_key = models.CharField(max_length=200, blank=True)
    """The id that the sender gave it; a repeated request has the same."""
    request_digest = models.CharField(max_length=64)
    received_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    """The time until which it can end a wait that begins later."""
    taken: "list[EventMatch]"
    """A page of the waits that it has ended, if they are loaded."""
    taken_next: "UUID | None"
    """The cursor of the next page of them."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["sender", "idempotency_key"],
                name="external_event_sent_once",
                condition=~Q(idempotency_key=""),
            ),
            models.CheckConstraint(
                name="external_event_expires_later",
                condition=Q(expires_at__gt=models.F("received_at")),
            ),
        ]
        indexes = [
            models.Index(
                fields=["type", "key", "received_at"], name="external_event_by_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.key}"


class EventWait(models.Model):
    """The wait of a step for an event, with its resolved key; insert-only."""

    id = Uuid7Key()
    step_run = models.ForeignKey(
        "runs.StepRun",
        on_delete=models.PROTECT,
        db_index=False,
        related_name="event_waits",
    )
    generation = models.PositiveIntegerField()
    """The generation of the step; a step that is tried again waits again."""
    type = models.CharField(max_length=100)
    key = models.CharField(max_length=200, blank=True)
    opened_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step_run", "generation"], name="event_wait_once"
            )
        ]
        indexes = [models.Index(fields=["type", "key"], name="event_wait_by_key")]

    def __str__(self) -> str:
        return f"{self.type} {self.key}"


class EventMatch(models.Model):
    """The event that ends a wait; insert-only."""

    wait = models.OneToOneField(
        EventWait, on_delete=models.PROTECT, primary_key=True, related_name="match"
    )
    event = models.ForeignKey(
        ExternalEvent, on_delete=models.PROTECT, related_name="matches"
    )
    matched_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.event_id} ends {self.wait_id}"
