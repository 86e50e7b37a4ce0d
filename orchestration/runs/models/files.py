"""Stored files: what produced and uses them, uploads, and inputs of runs."""

from django.db import models
from django.db.models import F, Q

from execfabric.infra.fields import Uuid7Key


class Artifact(models.Model):
    """An immutable file, addressed by its content, and the step that first returned it.

    A file that was only uploaded has no producer.
    """

    sha256 = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100)
    size = models.BigIntegerField()
    producer = models.ForeignKey(
        "runs.StepRun", on_delete=models.PROTECT, null=True, related_name="artifacts"
    )
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} {self.sha256[:12]}"


class ArtifactUse(models.Model):
    """A file that a step run returned or received; decides who may read it."""

    id = models.BigAutoField(primary_key=True)
    artifact = models.ForeignKey(
        Artifact, on_delete=models.PROTECT, db_index=False, related_name="uses"
    )
    step_run = models.ForeignKey(
        "runs.StepRun", on_delete=models.PROTECT, related_name="artifact_uses"
    )
    name = models.CharField(max_length=255)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["artifact", "step_run", "name"], name="artifact_use_is_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.step_run_id}"


class Upload(models.Model):
    """A file that a user or an agent uploaded to use it as an input.

    It expires unless it is used; the artifacts of runs never do.
    """

    id = Uuid7Key()
    artifact = models.ForeignKey(
        "runs.Artifact", on_delete=models.PROTECT, related_name="uploads"
    )
    actor = models.CharField(max_length=60)
    actor_owner = models.CharField(max_length=60, blank=True)
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["actor", "artifact", "name"], name="upload_is_unique"
            ),
            models.CheckConstraint(
                name="upload_expires_later", condition=Q(expires_at__gt=F("created_at"))
            ),
        ]
        indexes = [models.Index(fields=["expires_at"], name="upload_by_expiry")]

    def __str__(self) -> str:
        return f"{self.name} of {self.actor}"


class InputFile(models.Model):
    """A file that is an input of a run; decides who may read it."""

    id = models.BigAutoField(primary_key=True)
    # No index: the unique constraint begins with it.
    run = models.ForeignKey(
        "runs.Run",
        on_delete=models.PROTECT,
        db_index=False,
        related_name="input_files",
    )
    artifact = models.ForeignKey(
        "runs.Artifact", on_delete=models.PROTECT, related_name="input_files"
    )
    name = models.CharField(max_length=255)
    """The name of the input."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "name"], name="input_file_is_unique")
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.run_id}"
