"""Plans and their immutable revisions."""

from django.db import models

from execfabric.infra.fields import Uuid7Key


class Plan(models.Model):
    """A named procedure; its content is in its revisions."""

    id = Uuid7Key()
    slug = models.CharField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.slug


class PlanRevision(models.Model):
    """One immutable content of a plan, identified by its digest."""

    id = Uuid7Key()
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    body = models.BinaryField()
    """The normal form of the plan, as RFC 8785 bytes."""
    digest = models.CharField(max_length=64)
    source = models.TextField()
    """The text as the author wrote it."""
    author = models.CharField(max_length=60)
    author_name = models.CharField(max_length=150)
    author_owner = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "number"], name="plan_revision_number_is_unique"
            ),
            models.UniqueConstraint(
                fields=["plan", "digest"], name="plan_revision_content_is_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan.slug} r{self.number}"
