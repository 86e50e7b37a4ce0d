"""Plans, their immutable revisions, and permissions on them."""

from django.db import models
from django.db.models import Q
from django.db.models.expressions import RawSQL
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from execfabric.infra.fields import Uuid7Key
from execfabric.lib.actor import Actor

EDITED = 0
"""The number of a revision that was edited in a run; others count from 1."""


class Plan(models.Model):
    """A named procedure; its content is in its revisions."""

    id = Uuid7Key()
    slug = models.CharField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField()

    class Meta:
        permissions = [
            ("start_plan", "Can start runs of the plan"),
            ("edit_plan", "Can add revisions to the plan"),
        ]

    def __str__(self) -> str:
        return self.slug


class PlanUserPermission(UserObjectPermissionBase):
    content_object = models.ForeignKey(Plan, on_delete=models.CASCADE)


class PlanGroupPermission(GroupObjectPermissionBase):
    content_object = models.ForeignKey(Plan, on_delete=models.CASCADE)


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
    name = models.GeneratedField(
        expression=RawSQL("plans_name(body)", []),
        output_field=models.TextField(),
        db_persist=True,
    )
    """The name of the plan in this revision, which searches read."""
    author = models.CharField(max_length=60)
    author_name = models.CharField(max_length=150)
    author_owner = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField()
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        db_index=False,
        null=True,
        related_name="edits",
    )
    """The revision that it is an edit of, made while a run of it was paused."""
    edited_in = models.UUIDField(null=True)
    """The run in which it was edited. Such a revision is not a saved one."""
    edited_step = models.CharField(
        max_length=100, blank=True, default="", db_default=""
    )
    """The step whose parameters the edit has changed, and nothing else."""
    edit_reason = models.TextField(blank=True, default="", db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "number"],
                name="plan_revision_number_is_unique",
                condition=~Q(number=EDITED),
            ),
            models.UniqueConstraint(
                fields=["plan", "digest"],
                name="plan_revision_content_is_unique",
                condition=~Q(number=EDITED),
            ),
            models.CheckConstraint(
                name="plan_revision_edit_is_whole",
                condition=Q(parent=None, edited_in=None, edited_step="")
                & ~Q(number=EDITED)
                | Q(parent__isnull=False, edited_in__isnull=False, number=EDITED)
                & ~Q(edited_step=""),
            ),
        ]
        indexes = [
            models.Index(
                fields=["parent", "edited_in"],
                name="plan_revision_edits",
                condition=Q(parent__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan.slug} r{self.number}"

    @property
    def lineage(self) -> list["PlanRevision"]:
        """Return it, the revision that it is an edit of, and so on to a saved one."""
        found = [self]
        while found[-1].parent is not None:
            found.append(found[-1].parent)
        return found

    @property
    def saved_number(self) -> int:
        """The number of the saved revision that it is, or is an edit of."""
        return self.lineage[-1].number

    @property
    def responsible(self) -> str:
        """The key of the user who wrote it, or who owns the agent that did."""
        return self.author_owner or self.author

    def written_by(self) -> Actor:
        return Actor.stored(self.author, self.author_name, self.author_owner)
