"""Named artifacts: what each is called, its chain of versions, and their sources.

A version is a file of the content store at one place in a chain. The rows are written by
`engine/versions.py` only.
"""

from django.db import models
from django.db.models import F, Q

from execfabric.infra.checks import iff, is_not_blank, is_one_of, is_set
from execfabric.infra.fields import Uuid7Key
from orchestration.plans.models import Plan
from orchestration.runs.domain.artifacts import MAX_NAME
from orchestration.runs.domain.states import HEADS, NUMBERED, ArtifactState


class NamedArtifact(models.Model):
    """A named file of a plan, such as `report/document`; insert-only."""

    id = Uuid7Key()
    # No index: the unique constraint begins with it.
    plan = models.ForeignKey(
        Plan, on_delete=models.PROTECT, db_index=False, related_name="artifacts"
    )
    name = models.CharField(max_length=MAX_NAME)
    """The step and the output that return it, or the name of a fork."""
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "name"], name="artifact_name_is_unique"
            ),
            models.CheckConstraint(
                name="artifact_has_name", condition=is_not_blank("name")
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ArtifactVersion(models.Model):
    """One version of a named artifact; only its state changes, and is never deleted.

    A draft has no number yet. The head of a chain has the highest number.
    """

    id = Uuid7Key()
    # No index: a unique constraint begins with it.
    artifact = models.ForeignKey(
        NamedArtifact, on_delete=models.PROTECT, db_index=False, related_name="versions"
    )
    file = models.ForeignKey(
        "runs.Artifact", on_delete=models.PROTECT, related_name="versions"
    )
    file_name = models.CharField(max_length=255)
    state = models.CharField(max_length=12, default=ArtifactState.DRAFT)
    number = models.PositiveIntegerField(null=True)
    """Its place in the chain, from 1; set when it becomes the head."""
    supersedes = models.OneToOneField(
        "self",
        on_delete=models.PROTECT,
        null=True,
        related_name="superseded_by",
    )
    """The version before it in the chain."""
    forked_from = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="forks"
    )
    """The version of another chain that this chain begins with."""
    step_run = models.ForeignKey(
        "runs.StepRun", on_delete=models.PROTECT, related_name="artifact_versions"
    )
    """The step that returned the file; for a fork, that of the forked version."""
    fence = models.BigIntegerField()
    """The attempt of that step."""
    created_by = models.CharField(max_length=60)
    created_by_name = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    current_at = models.DateTimeField(null=True)
    """When it became the head of its chain."""
    archived_by = models.CharField(max_length=60, blank=True)
    archived_by_name = models.CharField(max_length=150, blank=True)
    archived_at = models.DateTimeField(null=True)
    archive_reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["artifact", "number"], name="artifact_version_number_is_unique"
            ),
            models.UniqueConstraint(
                fields=["artifact"],
                name="artifact_has_one_head",
                condition=Q(state__in=sorted(HEADS)),
            ),
            models.UniqueConstraint(
                fields=["step_run", "artifact"],
                name="artifact_version_once_per_step",
                condition=Q(forked_from=None),
            ),
            models.CheckConstraint(
                name="artifact_version_state_is_known",
                condition=is_one_of("state", ArtifactState),
            ),
            models.CheckConstraint(
                name="artifact_version_number_iff_current_at",
                condition=iff(is_set("number"), is_set("current_at")),
            ),
            models.CheckConstraint(
                name="artifact_version_number_iff_not_draft",
                condition=Q(
                    is_one_of(
                        "state", [ArtifactState.ARCHIVED, ArtifactState.WITHDRAWN]
                    )
                )
                | Q(iff(is_set("number"), is_one_of("state", NUMBERED))),
            ),
            models.CheckConstraint(
                name="artifact_version_supersedes_iff_later",
                condition=Q(
                    supersedes__isnull=False, number__isnull=False, number__gt=1
                )
                | Q(supersedes=None, number=None)
                | Q(supersedes=None, number__isnull=False, number=1),
            ),
            models.CheckConstraint(
                name="artifact_version_supersedes_another",
                condition=Q(supersedes=None) | ~Q(supersedes=F("id")),
            ),
            models.CheckConstraint(
                name="artifact_version_fork_is_first",
                condition=Q(forked_from=None)
                | Q(number__isnull=False, number=1, supersedes=None),
            ),
            models.CheckConstraint(
                name="artifact_version_forked_has_origin",
                condition=Q(forked_from__isnull=False)
                | ~Q(is_one_of("state", [ArtifactState.FORKED])),
            ),
            models.CheckConstraint(
                name="artifact_version_fork_is_not_current",
                condition=Q(forked_from=None)
                | ~Q(is_one_of("state", [ArtifactState.CURRENT, ArtifactState.DRAFT])),
            ),
            *(
                models.CheckConstraint(
                    name=f"artifact_version_{column}_iff_archived",
                    condition=iff(
                        is_set(column)
                        if column == "archived_at"
                        else is_not_blank(column),
                        is_one_of("state", [ArtifactState.ARCHIVED]),
                    ),
                )
                for column in ("archived_at", "archived_by", "archive_reason")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.artifact_id} {self.number or self.state}"


class ArtifactSource(models.Model):
    """A file that an attempt of a step received; insert-only.

    All versions that the attempt returned were made from it. A fork has none: it was
    made from the version that it was forked from.
    """

    id = models.BigAutoField(primary_key=True)
    # No index: the unique constraint begins with it.
    step_run = models.ForeignKey(
        "runs.StepRun",
        on_delete=models.PROTECT,
        db_index=False,
        related_name="artifact_sources",
    )
    fence = models.BigIntegerField()
    """The attempt of that step."""
    file = models.ForeignKey(
        "runs.Artifact", on_delete=models.PROTECT, related_name="sourced"
    )
    name = models.CharField(max_length=255)
    source = models.ForeignKey(
        ArtifactVersion, on_delete=models.PROTECT, null=True, related_name="made"
    )
    """The version that the file was; None for an uploaded file."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step_run", "fence", "file"], name="artifact_source_is_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.step_run_id}"
