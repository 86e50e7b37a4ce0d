"""The logs of step runs."""

from django.db import models


class LogChunk(models.Model):
    """A piece of the log of a step run, with secrets masked."""

    id = models.BigAutoField(primary_key=True)
    step_run = models.ForeignKey(
        "runs.StepRun", on_delete=models.PROTECT, db_index=False, related_name="log"
    )
    fence = models.BigIntegerField()
    offset = models.BigIntegerField()
    """The start of the text, in characters from the start of the log."""
    line = models.BigIntegerField(null=True)
    """The number of line breaks before it; null in rows of older releases."""
    text = models.TextField()
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step_run", "offset"], name="log_chunk_has_one_place"
            )
        ]

    def __str__(self) -> str:
        return f"log of {self.step_run_id} at {self.offset}"
