"""Where a run comes from: the plan it was written from, and the trace it is a part of."""

from django.db import models
from django.db.models import F, Q

from orchestration.plans.models import PlanRevision


class RunSource(models.Model):
    """The columns of a run that say where it comes from; they never change."""

    trace_id = models.CharField(max_length=32)
    parent_trace_id = models.CharField(
        max_length=32, blank=True, default="", db_default=""
    )
    """The trace of the system that proposed it; empty without one."""
    template = models.ForeignKey(
        PlanRevision,
        on_delete=models.PROTECT,
        db_index=False,
        null=True,
        related_name="+",
    )
    """The revision that its plan was written from, if it is another one."""

    class Meta:
        abstract = True


def source_checks() -> list[models.CheckConstraint]:
    """Return the checks: a run is not its own parent, and not its own template."""
    is_trace = Q(parent_trace_id__regex=r"^[0-9a-f]{32}$")
    return [
        models.CheckConstraint(
            name="run_parent_trace_is_another",
            condition=Q(parent_trace_id="")
            | is_trace & ~Q(parent_trace_id=F("trace_id")),
        ),
        models.CheckConstraint(
            name="run_template_is_another",
            condition=Q(template=None) | ~Q(template=F("revision")),
        ),
    ]


def trace_indexes() -> list[models.Index]:
    """Return the indexes that find runs by their own trace or that of their parent."""
    has_parent = ~Q(parent_trace_id="")
    return [
        models.Index(fields=["trace_id"], name="run_by_trace"),
        models.Index(
            fields=["parent_trace_id"],
            name="run_by_parent_trace",
            condition=has_parent,
        ),
    ]
