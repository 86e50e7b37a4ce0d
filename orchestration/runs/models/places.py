"""The places of runs and steps in the queues of their concurrency keys."""

from django.db import models
from django.db.models import Q

from orchestration.plans.domain.concurrency import MAX_KEY


class ConcurrencyPlace(models.Model):
    """A run or a step that holds its key, or waits for it.

    Places are given in the order of their ids: it holds the key if fewer others with the
    key came before it and have not left than the smallest `limit` of it and of them. A
    trigger removes the place when its run or step ends, in the same transaction.
    """

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=MAX_KEY)
    limit = models.PositiveIntegerField()
    run = models.ForeignKey(
        "runs.Run", on_delete=models.CASCADE, db_index=False, related_name="places"
    )
    step_run = models.ForeignKey(
        "runs.StepRun", on_delete=models.CASCADE, db_index=False, null=True
    )
    entered_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "step_run"],
                name="concurrency_place_is_one",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="concurrency_place_limit", condition=Q(limit__gte=1)
            ),
            models.CheckConstraint(
                name="concurrency_place_has_key", condition=~Q(key="")
            ),
        ]
        indexes = [models.Index(fields=["key", "id"], name="concurrency_queue")]

    def __str__(self) -> str:
        return f"place {self.pk} for {self.key}"


def admission_checks(name: str, held: Q) -> list[models.CheckConstraint]:
    """Return the checks of the columns of a row that needs a place.

    `held` is the condition under which it must have one. While it is queued it has none.
    """
    has_key, is_admitted = ~Q(concurrency_key=""), Q(admitted_at__isnull=False)
    return [
        models.CheckConstraint(
            name=f"{name}_admitted_with_key", condition=~is_admitted | has_key
        ),
        models.CheckConstraint(
            name=f"{name}_proceeds_if_admitted",
            condition=~held | ~has_key | is_admitted,
        ),
        models.CheckConstraint(
            name=f"{name}_queued_for_key",
            condition=~Q(state="queued") | (has_key & ~is_admitted),
        ),
    ]
