"""What the keeper could not sweep."""

from django.db import models


class SweepFailure(models.Model):
    """A run, or a dry run without one, that the last sweeps failed on."""

    subject = models.UUIDField(primary_key=True)
    duty = models.CharField(max_length=20)
    failures = models.PositiveIntegerField()
    """In a row; a success removes the row."""
    retry_at = models.DateTimeField()
    reported = models.BooleanField(default=False)
    """Whether the run's stream says so."""

    def __str__(self) -> str:
        return f"{self.duty} of {self.subject}"
