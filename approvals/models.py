"""Gates, the decisions on them, and the policies that open them."""

from dataclasses import fields

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from approvals.domain.eligibility import Exclusion
from approvals.domain.policy import Rule
from approvals.domain.seats import Requirement
from approvals.domain.states import GATE, OPEN, SETTLED, GateStatus
from execfabric.infra.checks import iff, is_not_blank, is_one_of, is_set
from execfabric.infra.fields import Uuid7Key
from execfabric.lib import canonical

INPUT = "input"
"""The kind of subject that asks for values; one answer of any group is enough."""
# Plain text, so that migrations do not import the enum.
_IS_OPEN = Q(status__in=sorted(map(str, OPEN)))


class Gate(models.Model):
    """A request for approval of exact bytes, and its status.

    Triggers reject any other change than legal moves of the status. `digest` is
    SHA-256 of domain, newline and subject, by a constraint.
    """

    id = Uuid7Key()
    subject_kind = models.CharField(max_length=20)
    subject_id = models.UUIDField()
    context_id = models.UUIDField()
    stream = models.CharField(max_length=80)
    trace_id = models.CharField(max_length=32, blank=True)
    step = models.CharField(max_length=100, blank=True)
    label = models.TextField(blank=True)
    subject = models.BinaryField()
    digest_domain = models.CharField(max_length=60)
    digest = models.BinaryField(max_length=32)
    status = models.CharField(max_length=20, default=str(GATE.initial))
    requirements = models.JSONField()
    excluded = models.JSONField()
    reasons = models.JSONField()
    policy_versions = models.JSONField()
    risk = models.CharField(max_length=20, blank=True)
    rev = models.PositiveIntegerField()
    """The number of the gate among those of its subject, from 1."""
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)
    settled_reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="gate_status_is_known", condition=is_one_of("status", GateStatus)
            ),
            models.CheckConstraint(
                name="gate_settled_at_iff_settled",
                condition=iff(is_set("settled_at"), is_one_of("status", SETTLED)),
            ),
            models.CheckConstraint(
                name="gate_settled_reason_iff_settled",
                condition=iff(
                    is_not_blank("settled_reason"), is_one_of("status", SETTLED)
                ),
            ),
            models.CheckConstraint(
                name="gate_expires_after_it_was_requested",
                condition=Q(expires_at__gt=models.F("requested_at")),
            ),
            models.UniqueConstraint(
                name="one_open_gate_per_subject",
                fields=["subject_kind", "subject_id"],
                condition=_IS_OPEN,
            ),
            models.UniqueConstraint(
                name="gate_rev_counts_per_subject",
                fields=["subject_kind", "subject_id", "rev"],
            ),
        ]
        indexes = [
            models.Index(fields=["context_id", "id"], name="gate_by_context"),
            models.Index(
                fields=["expires_at"],
                name="gate_open_by_expiry",
                condition=_IS_OPEN,
            ),
            GinIndex(fields=["excluded"], name="gate_by_excluded"),
        ]

    def __str__(self) -> str:
        return f"{self.label or self.subject_kind} ({self.status})"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def digest_hex(self) -> str:
        return bytes(self.digest).hex()

    def actual_digest(self) -> bytes:
        """Return the digest of the content as it is now."""
        return canonical.digest(self.digest_domain, bytes(self.subject))

    def required(self) -> tuple[Requirement, ...]:
        return tuple(Requirement(r["group"], r["count"]) for r in self.requirements)

    def exclusions(self) -> tuple[Exclusion, ...]:
        return tuple(Exclusion(e["key"], e["why"]) for e in self.excluded)

    def excluded_keys(self) -> frozenset[str]:
        return frozenset(e["key"] for e in self.excluded)


class Decision(models.Model):
    """The decision of one person on one gate; it never changes."""

    id = Uuid7Key()
    # The unique constraint below is its index.
    gate = models.ForeignKey(
        Gate, on_delete=models.PROTECT, db_index=False, related_name="decisions"
    )
    approve = models.BooleanField()
    voter_key = models.CharField(max_length=60)
    voter_name = models.CharField(max_length=150)
    groups = models.JSONField()
    digest = models.BinaryField(max_length=32)
    comment = models.TextField(blank=True)
    channel = models.CharField(max_length=20)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_decision_per_voter", fields=["gate", "voter_key"]
            ),
            models.CheckConstraint(
                name="rejection_has_a_comment",
                condition=Q(approve=True) | ~Q(comment=""),
            ),
            models.CheckConstraint(
                name="only_people_decide", condition=Q(voter_key__startswith="user:")
            ),
        ]
        indexes = [models.Index(fields=["voter_key", "-at"], name="decision_by_voter")]

    def __str__(self) -> str:
        return f"{self.voter_name}: {'approved' if self.approve else 'rejected'}"


class Policy(models.Model):
    """One immutable version of a rule that requires approvals."""

    id = Uuid7Key()
    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    order = models.IntegerField()
    skill = models.CharField(max_length=100, blank=True)
    action = models.CharField(max_length=100, blank=True)
    risk_at_least = models.CharField(max_length=20, blank=True)
    effect_class = models.CharField(max_length=20, blank=True)
    requirements = models.JSONField()
    expires_after_s = models.PositiveIntegerField(null=True)
    reason = models.TextField()
    """The sentence that approvers read."""
    published_at = models.DateTimeField()
    published_by_key = models.CharField(max_length=60)
    published_by_name = models.CharField(max_length=150)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "policies"
        constraints = [
            models.UniqueConstraint(
                name="policy_version_is_unique", fields=["name", "version"]
            ),
            models.UniqueConstraint(
                name="one_policy_version_in_force",
                fields=["name"],
                condition=Q(retired_at__isnull=True),
            ),
            models.CheckConstraint(name="policy_has_a_reason", condition=~Q(reason="")),
            models.CheckConstraint(
                name="policy_expiry_is_not_zero",
                condition=Q(expires_after_s__isnull=True) | Q(expires_after_s__gte=1),
            ),
            models.CheckConstraint(
                name="policy_retires_after_it_was_published",
                condition=Q(retired_at__isnull=True)
                | Q(retired_at__gte=models.F("published_at")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def rule(self) -> Rule:
        columns = {field.name: getattr(self, field.name) for field in fields(Rule)}
        requirements = (Requirement(r["group"], r["count"]) for r in self.requirements)
        return Rule(**columns | {"requirements": tuple(requirements)})
