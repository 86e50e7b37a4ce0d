"""Who takes care of what needs a person."""

from django.db import models


class AttentionClaim(models.Model):
    """The user who takes care of an item of the attention queue.

    The items follow from other rows; a claim whose item is gone has no effect.
    """

    key = models.CharField(max_length=100, primary_key=True)
    run = models.ForeignKey(
        "runs.Run", on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    owner = models.CharField(max_length=60)
    owner_name = models.CharField(max_length=150)
    taken_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key} of {self.owner_name}"
