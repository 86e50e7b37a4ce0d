"""Skills, their immutable versions, and permissions on them."""

from typing import Any

from django.db import models
from django.db.models import Q
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from execfabric.infra.fields import Uuid7Key
from execfabric.lib import canonical
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain.contract import SkillContract
from orchestration.skills.domain.states import SkillState, VersionState
from orchestration.skills.errors import ContractUnreadable

DIGEST_DOMAIN = "execfabric/skill/v1"


class Skill(models.Model):
    """A registered capability."""

    id = Uuid7Key()
    slug = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    domain = models.CharField(max_length=60, default="general")
    state = models.CharField(max_length=20, default=SkillState.DRAFT)
    source = models.CharField(max_length=20, default="built-in")
    current = models.ForeignKey(
        "SkillVersion", on_delete=models.PROTECT, null=True, related_name="+"
    )
    """The version for plans that name none."""
    created_at = models.DateTimeField()

    class Meta:
        permissions = [
            ("propose_skill", "Can propose plans with the skill"),
            ("publish_skill", "Can edit and publish versions of the skill"),
        ]
        constraints = [
            models.CheckConstraint(
                name="skill_state_is_known",
                condition=Q(state__in=sorted(str(state) for state in SkillState)),
            ),
            models.CheckConstraint(
                name="skill_has_current_iff_not_draft",
                condition=Q(state=SkillState.DRAFT, current__isnull=True)
                | (~Q(state=SkillState.DRAFT) & Q(current__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class SkillUserPermission(UserObjectPermissionBase):
    content_object = models.ForeignKey(Skill, on_delete=models.CASCADE)


class SkillGroupPermission(GroupObjectPermissionBase):
    content_object = models.ForeignKey(Skill, on_delete=models.CASCADE)


class SkillVersion(models.Model):
    """An immutable release of a skill: contract and code, bound by one digest."""

    id = Uuid7Key()
    skill = models.ForeignKey(Skill, on_delete=models.PROTECT, related_name="versions")
    version = models.CharField(max_length=40)
    state = models.CharField(max_length=20, default=VersionState.DRAFT)
    body = models.BinaryField()
    """RFC 8785 bytes of `{"contract": ..., "code": {handler: sha256}}`."""
    digest = models.CharField(max_length=64)
    shipped = models.JSONField(null=True)
    """The shipped contract that it is based on, to compare with the next one."""
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=60)
    created_by_name = models.CharField(max_length=150)
    edited_by = models.JSONField(default=list)
    """The keys of the actors who changed the draft after its creation."""
    published_at = models.DateTimeField(null=True)
    published_by = models.CharField(max_length=60, blank=True)
    published_by_name = models.CharField(max_length=150, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["skill", "version"], name="skill_version_is_unique"
            ),
            models.CheckConstraint(
                name="skill_version_state_is_known",
                condition=Q(state__in=sorted(str(state) for state in VersionState)),
            ),
            models.CheckConstraint(
                name="skill_version_published_at_iff_published",
                condition=Q(state=VersionState.DRAFT, published_at__isnull=True)
                | (~Q(state=VersionState.DRAFT) & Q(published_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.skill.slug}@{self.version}"

    def content(self) -> dict[str, Any]:
        """Return the contract and the code digests as they were hashed."""
        return canonical.loads(bytes(self.body))  # type: ignore[no-any-return]

    def authors(self) -> frozenset[str]:
        """Return the keys of the actors who wrote this version."""
        return frozenset({self.created_by, *self.edited_by})

    def contract(self) -> SkillContract:
        return contracts.from_json(self.content()["contract"])

    def readable(self) -> SkillContract | None:
        """Return the contract; None if this release cannot read it."""
        try:
            return self.contract()
        except ContractUnreadable:
            return None

    def shipped_contract(self) -> SkillContract | None:
        """Return the shipped contract that this version is based on; None if unknown."""
        return contracts.from_json(self.shipped) if self.shipped else None
