"""Streams and their events."""

from django.db import models


class Stream(models.Model):
    """The head of one chain of events, for example that of a run or of sign-in."""

    key = models.CharField(max_length=80, primary_key=True)
    last_seq = models.BigIntegerField(default=0)
    head = models.BinaryField(max_length=32)

    def __str__(self) -> str:
        return self.key


FINDS_TRACE = models.Q(seq=1) | models.Q(kind__startswith="artifact.")
"""The events that name the traces of a stream.

Every event of a stream has the trace of the first one. Only the artifacts of a plan come
from many runs, each with its own trace.
"""


class Event(models.Model):
    """One event, with the bytes that are hashed.

    The other columns repeat parts of `body` so that they can be searched. The
    verification compares them.
    """

    pk = models.CompositePrimaryKey("stream_id", "seq")
    # No index: the primary key starts with this column.
    stream = models.ForeignKey(
        Stream,
        on_delete=models.PROTECT,
        db_column="stream",
        db_index=False,
        related_name="events",
    )
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=60)
    at = models.DateTimeField()
    actor = models.CharField(max_length=60)
    actor_name = models.CharField(max_length=150)
    trace_id = models.CharField(max_length=32, blank=True)
    step = models.CharField(max_length=100, blank=True)
    body = models.BinaryField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="event_seq_starts_at_one", condition=models.Q(seq__gte=1)
            ),
        ]
        indexes = [
            models.Index(fields=["at"], name="event_by_time"),
            models.Index(
                fields=["trace_id"], name="event_of_trace", condition=FINDS_TRACE
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stream_id}#{self.seq} {self.kind}"
