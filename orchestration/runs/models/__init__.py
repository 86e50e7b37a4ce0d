"""Runs, step runs, attempts, their exact parameters, logs and files."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Q

from execfabric.infra.checks import iff, is_one_of, is_set
from execfabric.infra.fields import Uuid7Key
from execfabric.lib.actor import Actor
from orchestration.plans.models import PlanRevision
from orchestration.runs.domain.states import (
    FINAL_RUN,
    FINAL_STEP,
    Phase,
    RunState,
    StepState,
)
from orchestration.runs.models.jobs import DryRun as DryRun
from orchestration.runs.models.jobs import SweepFailure as SweepFailure

SPEC_DOMAIN = "execfabric/action/v1"
OVER = frozenset(Phase) - {Phase.CLAIMED, Phase.INTENT}
"""The phases of a finished attempt."""


def stream_of(run_id: UUID) -> str:
    return f"run:{run_id}"


class Run(models.Model):
    """One execution of a plan revision."""

    id = Uuid7Key()
    revision = models.ForeignKey(
        PlanRevision, on_delete=models.PROTECT, related_name="runs"
    )
    state = models.CharField(max_length=24, default=RunState.AWAITING_APPROVAL)
    reason = models.TextField(blank=True)
    """Why it is paused, failed or ended, as a sentence."""
    inputs = models.JSONField()
    pins = models.JSONField()
    """The approved skill version of each step: id, skill, version, digest."""
    parallel_max = models.PositiveIntegerField(default=1)
    """The number of steps that may run at once; 0 for no limit."""
    gate_id = models.UUIDField(null=True)
    """The current plan gate."""
    trace_id = models.CharField(max_length=32)
    proposer = models.CharField(max_length=60)
    proposer_name = models.CharField(max_length=150)
    proposer_owner = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    seq = models.BigIntegerField(default=0, db_default=0)
    """The number of the last event that wrote this row."""
    version = models.BigIntegerField(default=0, db_default=0)
    """Rises with each write without an event to the run, its steps or its gates."""
    idempotency_key = models.CharField(
        max_length=200, blank=True, default="", db_default=""
    )
    """The Idempotency-Key of the request that proposed it."""
    request_digest = models.CharField(
        max_length=64, blank=True, default="", db_default=""
    )
    """The digest of that request, if it had a key."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["proposer", "idempotency_key"],
                name="run_idempotency_key_once",
                condition=~Q(idempotency_key=""),
            ),
            models.CheckConstraint(
                name="run_state_is_known", condition=is_one_of("state", RunState)
            ),
            models.CheckConstraint(
                name="run_finished_at_iff_final",
                condition=iff(is_set("finished_at"), is_one_of("state", FINAL_RUN)),
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at"], name="run_newest_first"),
            models.Index(fields=["proposer", "-created_at"], name="run_by_proposer"),
            models.Index(
                fields=["id"],
                name="run_waiting_to_stop",
                condition=Q(state__in=[RunState.PAUSING, RunState.CANCELLING]),
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.id}"

    @property
    def stream(self) -> str:
        return stream_of(self.id)

    def proposed_by(self) -> Actor:
        """Return the proposer as they were at the time."""
        return Actor.stored(self.proposer, self.proposer_name, self.proposer_owner)


class ExecSpec(models.Model):
    """The canonical JSON of one action, stored by its digest; insert-only."""

    digest = models.CharField(max_length=64, primary_key=True)
    body = models.BinaryField()

    def __str__(self) -> str:
        return self.digest


class StepRun(models.Model):
    """One step of one run: its state, its lease, its parameters and its output.

    It is one instance of a plan step: a step of a sub-plan has a parent, an item of a list
    has its index.
    """

    id = Uuid7Key()
    # No indexes: steps are written often, the unique constraints begin with these keys,
    # and specs are never deleted.
    run = models.ForeignKey(
        Run, on_delete=models.PROTECT, db_index=False, related_name="steps"
    )
    key = models.CharField(max_length=100)
    """The id of the step in its plan."""
    item = models.IntegerField(null=True)
    """The index of its item in the list, from 0."""
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, db_index=False, null=True
    )
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=20, default="skill")
    state = models.CharField(max_length=20, default=StepState.PENDING)
    effect_class = models.CharField(max_length=20)
    generation = models.PositiveIntegerField(default=1)
    """Rises when a user retries it; attempts of one generation share an idempotency key."""
    fence = models.BigIntegerField(default=0)
    """Rises with each claim; only the holder of the latest one may write a result."""
    worker = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True)
    tries = models.IntegerField(default=0)
    max_attempts = models.IntegerField(default=1)
    not_before = models.DateTimeField(null=True)
    hinted_at = models.DateTimeField(null=True)
    spec = models.ForeignKey(
        ExecSpec, on_delete=models.PROTECT, db_index=False, null=True
    )
    gate_id = models.UUIDField(null=True)
    output = models.JSONField(null=True)
    output_digest = models.CharField(max_length=64, blank=True)
    files = models.JSONField(default=dict)
    error = models.JSONField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    seq = models.BigIntegerField(default=0, db_default=0)
    """The number of the last event that wrote this row."""
    completed_seq = models.BigIntegerField(null=True)
    """The number of its success event; steps are undone in reverse order of it."""
    reuse_digest = models.CharField(
        max_length=64, blank=True, default="", db_default=""
    )
    """The digest of its action without the run: equal steps may reuse an output."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "key", "item", "parent"],
                name="step_run_is_one_instance",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="step_run_state_is_known",
                condition=is_one_of("state", StepState),
            ),
            models.CheckConstraint(
                name="step_run_finished_at_iff_final",
                condition=iff(is_set("finished_at"), is_one_of("state", FINAL_STEP)),
            ),
            models.CheckConstraint(
                name="step_run_lease_iff_running",
                condition=iff(
                    is_set("lease_until"), is_one_of("state", [StepState.RUNNING])
                ),
            ),
            models.CheckConstraint(
                name="step_run_tries_are_bounded",
                condition=Q(tries__range=(0, models.F("max_attempts"))),
            ),
            models.CheckConstraint(
                name="step_run_at_work_has_spec",
                condition=Q(spec__isnull=False)
                | ~Q(is_one_of("state", [StepState.READY, StepState.RUNNING])),
            ),
        ]
        indexes = [
            models.Index(
                fields=["not_before", "id"],
                name="step_run_waiting_for_worker",
                condition=Q(state__in=[StepState.READY, StepState.BACKOFF]),
            ),
            models.Index(
                fields=["lease_until"],
                name="step_run_leases",
                condition=Q(state=StepState.RUNNING),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.run_id}"

    def instance(self) -> dict[str, Any]:
        """Return what identifies it in its run: plan step, item and parent."""
        identity: dict[str, Any] = {"step": self.key}
        if self.item is not None:
            identity["item"] = self.item
        if self.parent_id is not None:
            identity["parent"] = str(self.parent_id)
        return identity


class Outside(models.Model):
    """The counter of changes that runs depend on and that no event of a run covers.

    Triggers on skills, policies, users, groups and agents raise the value.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    value = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="outside_has_one_row", condition=Q(id=1))
        ]

    def __str__(self) -> str:
        return str(self.value)


class Attempt(models.Model):
    """One try of a step run by one worker."""

    id = models.BigAutoField(primary_key=True)
    step_run = models.ForeignKey(
        StepRun, on_delete=models.PROTECT, db_index=False, related_name="attempts"
    )
    fence = models.BigIntegerField()
    generation = models.PositiveIntegerField()
    worker = models.CharField(max_length=120)
    phase = models.CharField(max_length=10)
    spec = models.ForeignKey(ExecSpec, on_delete=models.PROTECT, db_index=False)
    session_id = models.CharField(max_length=16)
    """The id of this attempt in the trace."""
    started_at = models.DateTimeField()
    intent_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    """The error of a failed attempt, or the late result of a fenced one."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step_run", "fence"], name="attempt_has_one_fence"
            ),
            models.UniqueConstraint(
                fields=["step_run"],
                name="attempt_one_live_per_step_run",
                condition=Q(phase__in=[Phase.CLAIMED, Phase.INTENT]),
            ),
            models.CheckConstraint(
                name="attempt_phase_is_known", condition=is_one_of("phase", Phase)
            ),
            models.CheckConstraint(
                name="attempt_ended_at_iff_over",
                condition=iff(is_set("ended_at"), is_one_of("phase", OVER)),
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.fence} of {self.step_run_id}"


class LogChunk(models.Model):
    """A piece of the log of a step run, with secrets masked."""

    id = models.BigAutoField(primary_key=True)
    step_run = models.ForeignKey(
        StepRun, on_delete=models.PROTECT, db_index=False, related_name="log"
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


class Artifact(models.Model):
    """An immutable file, addressed by its content, and the step that first returned it."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100)
    size = models.BigIntegerField()
    producer = models.ForeignKey(
        StepRun, on_delete=models.PROTECT, null=True, related_name="artifacts"
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
        StepRun, on_delete=models.PROTECT, related_name="artifact_uses"
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
