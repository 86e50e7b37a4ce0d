"""Runs, step runs, attempts, their exact parameters, logs and files."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Q

from execfabric.infra.checks import (
    has_key,
    has_result,
    iff,
    is_kind_with,
    is_one_of,
    is_pair,
    is_set,
)
from execfabric.infra.fields import Uuid7Key
from execfabric.lib.actor import Actor
from orchestration.plans.domain.concurrency import MAX_KEY
from orchestration.plans.models import PlanRevision
from orchestration.runs.domain.states import (
    FINAL_RUN,
    FINAL_STEP,
    STOPPING_RUN,
    WITH_OUTPUT,
    RunState,
    StepState,
)
from orchestration.runs.models import sources
from orchestration.runs.models.alerts import Alert as Alert
from orchestration.runs.models.attempts import Attempt as Attempt
from orchestration.runs.models.attempts import ExecSpec as ExecSpec
from orchestration.runs.models.attention import AttentionClaim as AttentionClaim
from orchestration.runs.models.deadlines import late_index, sla_checks
from orchestration.runs.models.events import EventMatch as EventMatch
from orchestration.runs.models.events import EventWait as EventWait
from orchestration.runs.models.events import ExternalEvent as ExternalEvent
from orchestration.runs.models.files import Artifact as Artifact
from orchestration.runs.models.files import ArtifactUse as ArtifactUse
from orchestration.runs.models.files import InputFile as InputFile
from orchestration.runs.models.files import Upload as Upload
from orchestration.runs.models.jobs import DryRun as DryRun
from orchestration.runs.models.jobs import SweepFailure as SweepFailure
from orchestration.runs.models.logs import LogChunk as LogChunk
from orchestration.runs.models.outside import Outside as Outside
from orchestration.runs.models.places import ConcurrencyPlace as ConcurrencyPlace
from orchestration.runs.models.places import admission_checks
from orchestration.runs.models.stops import Stop as Stop
from orchestration.runs.models.versions import ArtifactSource as ArtifactSource
from orchestration.runs.models.versions import ArtifactVersion as ArtifactVersion
from orchestration.runs.models.versions import NamedArtifact as NamedArtifact

FOR_EACH = "for_each"
"""The kind of a step run that has an item for each value of a list."""
CONTAINERS = (FOR_EACH, "plan")
"""The kinds of step runs whose state follows from that of their members."""
SPEC_DOMAIN = "execfabric/action/v1"
PLACED = (StepState.GATED, StepState.READY, StepState.RUNNING, StepState.BACKOFF)
"""The states in which a step with a concurrency key has its place."""


def stream_of(run_id: UUID) -> str:
    return f"run:{run_id}"


class Run(sources.RunSource):
    """One execution of a plan revision."""

    id = Uuid7Key()
    revision = models.ForeignKey(
        PlanRevision, on_delete=models.PROTECT, related_name="runs"
    )
    state = models.CharField(max_length=24, default=RunState.AWAITING_APPROVAL)
    reason = models.TextField(blank=True)
    """A sentence that says why the run is paused, failed or ended."""
    inputs = models.JSONField()
    pins = models.JSONField()
    """The approved skill version of each step: id, skill, version, digest."""
    parallel_max = models.PositiveIntegerField(default=1)
    """The number of steps that may run at once; 0 for no limit."""
    gate_id = models.UUIDField(null=True)
    """The current plan gate."""
    gate_before = models.UUIDField(null=True)
    """The plan gate before an edit that waits for its approval; null without one."""
    proposer = models.CharField(max_length=60)
    proposer_name = models.CharField(max_length=150)
    proposer_owner = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    concurrency_key = models.CharField(
        max_length=MAX_KEY, blank=True, default="", db_default=""
    )
    """The key that it shares with others, with its values; empty without one."""
    admitted_at = models.DateTimeField(null=True)
    """When it got its place for the key."""
    due_at = models.DateTimeField(null=True)
    """When it has to have ended, if it has a service level."""
    breached_at = models.DateTimeField(null=True)
    """When it was first found not to have ended in time."""
    seq = models.BigIntegerField(default=0, db_default=0)
    """The number of the last event that wrote this row."""
    version = models.BigIntegerField(default=0, db_default=0)
    """Incremented by each write to run, steps or gates without an event."""
    failures = models.PositiveIntegerField(default=0, db_default=0)
    """The number of failures of its steps that count for `rollback_after`."""
    rollback_after = models.PositiveIntegerField(default=0, db_default=0)
    """The number of failures after which it is rolled back; 0 for never."""
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
            models.CheckConstraint(
                name="run_edit_waits_for_approval",
                condition=Q(gate_before=None)
                | Q(is_one_of("state", [RunState.AWAITING_APPROVAL])),
            ),
            *sources.run_checks(),
            *sla_checks("run"),
            *admission_checks("run", Q(is_one_of("state", [RunState.RUNNING]))),
        ]
        indexes = [
            late_index("run"),
            models.Index(fields=["-created_at"], name="run_newest_first"),
            models.Index(fields=["proposer", "-created_at"], name="run_by_proposer"),
            *sources.run_indexes(),
            models.Index(
                fields=["id"],
                name="run_waiting_to_stop",
                condition=Q(state__in=sorted(STOPPING_RUN)),
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.id}"

    @property
    def stream(self) -> str:
        return stream_of(self.id)

    @property
    def dry_run(self) -> "DryRun | None":
        """The dry run of the current content; None for a run of an older release."""
        rows = self.dry_runs.filter(digest=self.revision.digest)
        rows = rows.defer("body", "source", "inputs", "pins")
        return rows.order_by("created_at").last()

    def proposed_by(self) -> Actor:
        """Return the proposer as they were at the time."""
        return Actor.stored(self.proposer, self.proposer_name, self.proposer_owner)


class StepRun(sources.StepSource):
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
    item_value = models.JSONField(null=True)
    """The value of its item, with the digest."""
    position = models.PositiveIntegerField()
    """The order in which steps were added; containers come before their members."""
    kind = models.CharField(max_length=20, default="skill")
    state = models.CharField(max_length=20, default=StepState.PENDING)
    effect_class = models.CharField(max_length=20)
    generation = models.PositiveIntegerField(default=1)
    """Incremented when a user retries; part of the idempotency key."""
    fence = models.BigIntegerField(default=0)
    """Incremented by each claim; only the latest claim may write a result."""
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
    condition = models.JSONField(null=True)
    """Why it runs or not: its condition with the result, the rule that it has chosen."""
    used_fallback = models.BooleanField(default=False, db_default=False)
    """True if it failed, and its output is that of its fallback."""
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    concurrency_key = models.CharField(
        max_length=MAX_KEY, blank=True, default="", db_default=""
    )
    """The key that it shares with others, with its values; empty without one."""
    admitted_at = models.DateTimeField(null=True)
    """When it got its place for the key."""
    due_at = models.DateTimeField(null=True)
    """When it has to have ended, if it has a service level."""
    breached_at = models.DateTimeField(null=True)
    """When it was first found not to have ended in time."""
    seq = models.BigIntegerField(default=0, db_default=0)
    """The number of the last event that wrote this row."""
    completed_seq = models.BigIntegerField(null=True)
    """The number of its success event; undo runs in reverse order."""
    reuse_digest = models.CharField(
        max_length=64, blank=True, default="", db_default=""
    )
    """The digest of the action without the run, to reuse outputs."""
    probe_at = models.DateTimeField(null=True)
    """While its outcome is unknown: when a worker may ask its target, or ask again."""
    probe_record = models.JSONField(null=True)
    """The tries, and the answer, of the probe of its last unknown outcome."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "key", "item", "parent"],
                name="step_run_is_one_instance",
                nulls_distinct=False,
            ),
            sources.reused_once(),
            models.CheckConstraint(
                name="step_run_state_is_known",
                condition=is_one_of("state", StepState),
            ),
            models.CheckConstraint(
                name="step_run_item_iff_value",
                condition=iff(is_set("item"), is_set("item_value")),
            ),
            models.CheckConstraint(
                name="step_run_item_has_parent",
                condition=Q(item__isnull=True) | Q(item__gte=0, parent__isnull=False),
            ),
            models.CheckConstraint(
                name="step_run_probed_only_if_unknown",
                condition=Q(probe_at__isnull=True)
                | Q(is_one_of("state", [StepState.INDETERMINATE])),
            ),
            models.CheckConstraint(
                name="step_run_expanded_is_container",
                condition=is_one_of("kind", CONTAINERS)
                | ~Q(is_one_of("state", [StepState.EXPANDED])),
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
            *sla_checks("step_run"),
            *admission_checks("step_run", Q(is_one_of("state", PLACED))),
            models.CheckConstraint(
                name="step_run_used_fallback_to_succeed",
                condition=Q(used_fallback=False) | Q(is_one_of("state", WITH_OUTPUT)),
            ),
            models.CheckConstraint(
                name="step_run_false_iff_left_out",
                condition=iff(
                    has_result("condition", result=False),
                    is_one_of("state", [StepState.SKIPPED_BY_CONDITION]),
                ),
            ),
            models.CheckConstraint(
                name="step_run_wait_iff_waiting",
                condition=iff(
                    is_kind_with("wait", "not_before"),
                    is_one_of("state", [StepState.WAITING]),
                ),
            ),
            models.CheckConstraint(
                name="step_run_rule_iff_chosen",
                condition=iff(
                    has_key("condition", "then"),
                    is_pair("kind", "choose", "state", StepState.SUCCEEDED),
                ),
            ),
        ]
        indexes = [
            late_index("step_run"),
            models.Index(
                fields=["not_before", "id"],
                name="step_run_waiting_for_worker",
                condition=Q(
                    state__in=[StepState.READY, StepState.BACKOFF, StepState.WAITING]
                ),
            ),
            models.Index(
                fields=["probe_at"],
                name="step_run_probes",
                condition=Q(probe_at__isnull=False),
            ),
            models.Index(
                fields=["lease_until"],
                name="step_run_leases",
                condition=Q(state=StepState.RUNNING),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} of {self.run_id}"

    @property
    def label(self) -> str:
        """Return the step's id with the index of its item: `each [3]`."""
        return self.key if self.item is None else f"{self.key} [{self.item}]"

    @property
    def is_added(self) -> bool:
        """True if it was added while the run proceeded, as a member of a container."""
        return self.parent_id is not None

    @property
    def has_session(self) -> bool:
        """True if it runs a sub-plan that has started."""
        return self.kind == "plan" and self.started_at is not None

    @property
    def address(self) -> str:
        """Return the name of the step in addresses of pages."""
        return self.key if self.parent_id is None else str(self.pk)

    def instance(self) -> dict[str, Any]:
        """Return the step's identity in the run: plan step, item and parent."""
        identity: dict[str, Any] = {"step": self.key}
        if self.item is not None:
            identity["item"] = self.item
        if self.parent_id is not None:
            identity["parent"] = str(self.parent_id)
        return identity
