"""Messages about what needs a person, which leave the service."""

from django.db import models
from django.db.models import Q

from execfabric.infra.checks import is_one_of
from execfabric.infra.fields import Uuid7Key
from orchestration.runs.domain.attention import AlertChannel


class Alert(models.Model):
    """One message about one item of the attention queue, on one channel.

    It is stored before it is sent, so that a crash loses none; its id is in the message.
    """

    id = Uuid7Key()
    item = models.CharField(max_length=150)
    """The key of the item, and since when it needs a person."""
    channel = models.CharField(max_length=10)
    # No index: runs are never deleted.
    run = models.ForeignKey(
        "runs.Run", on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    title = models.CharField(max_length=300)
    text = models.TextField()
    path = models.CharField(max_length=300)
    """The address of the page with the next action."""
    created_at = models.DateTimeField()
    hinted_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField()
    """When it may be sent next."""
    tries = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    """Why the last try failed."""
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item", "channel"], name="alert_once_per_item"
            ),
            models.CheckConstraint(
                name="alert_channel_is_known",
                condition=is_one_of("channel", AlertChannel),
            ),
            models.CheckConstraint(
                name="alert_sent_or_given_up",
                condition=Q(sent_at=None) | Q(given_up_at=None),
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                name="alert_open",
                condition=Q(sent_at__isnull=True, given_up_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"alert {self.item} by {self.channel}"
