"""Where a run comes from: the plan it was written from, its trace, the run it repeats."""

from django.db import models
from django.db.models import F, Q

from orchestration.plans.models import PlanRevision

MAX_PATH = 1000
"""Characters of the ids of a step and of the plan steps around it."""


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
    rerun_of = models.ForeignKey(
        "runs.Run",
        on_delete=models.PROTECT,
        db_index=False,
        null=True,
        related_name="reruns",
    )
    """The finished run that it runs again."""
    rerun_from = models.CharField(
        max_length=MAX_PATH, blank=True, default="", db_default=""
    )
    """The path of the first step that runs in any case; empty if all of them do."""

    class Meta:
        abstract = True


class StepSource(models.Model):
    """The column of a step run that says where its result comes from."""

    reused_from = models.ForeignKey(
        "runs.StepRun",
        on_delete=models.PROTECT,
        db_index=False,
        null=True,
        related_name="+",
    )
    """The step of an earlier run whose result it has; it did not run itself."""

    class Meta:
        abstract = True


def reused_once() -> models.UniqueConstraint:
    """Return the check that two steps of a run do not have the result of one step."""
    return models.UniqueConstraint(
        fields=["run", "reused_from"],
        name="step_run_result_is_reused_once",
        condition=Q(reused_from__isnull=False),
    )


def run_checks() -> list[models.CheckConstraint]:
    """Return the checks: a run does not come from itself."""
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
        models.CheckConstraint(
            name="run_rerun_is_of_another",
            condition=Q(rerun_of__isnull=False) & ~Q(rerun_of=F("id"))
            | Q(rerun_of=None, rerun_from=""),
        ),
    ]


def run_indexes() -> list[models.Index]:
    """Return the indexes that find runs by their trace, that of their parent, or reruns."""
    has_parent = ~Q(parent_trace_id="")
    return [
        models.Index(fields=["trace_id"], name="run_by_trace"),
        models.Index(
            fields=["parent_trace_id"],
            name="run_by_parent_trace",
            condition=has_parent,
        ),
        models.Index(
            fields=["rerun_of", "id"],
            name="run_by_original",
            condition=Q(rerun_of__isnull=False),
        ),
    ]
