"""Archive and fork versions of artifacts."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from execfabric.identity.authority import require, rights_of
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import Right
from execfabric.lib.text import is_storable, is_visible
from orchestration.plans import selectors as plans
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.errors import PlanNotPermitted
from orchestration.plans.models import Plan
from orchestration.runs import selectors
from orchestration.runs.control.control import may_control
from orchestration.runs.domain.artifacts import MAX_NAME
from orchestration.runs.domain.states import ArtifactState
from orchestration.runs.engine.versions import ChainChange
from orchestration.runs.errors import (
    ArchiveReasonRequired,
    ArtifactNotYours,
    ForkNameInvalid,
    ForkNameTaken,
    VersionArchived,
)
from orchestration.runs.models import ArtifactVersion, NamedArtifact

MAX_REASON = 2000


def archive(
    *,
    artifact_id: UUID,
    reason: str,
    by: Actor,
    at: datetime,
    version_id: UUID | None = None,
) -> ArtifactVersion:
    """Take a version out of use, by default the current one; nothing is deleted.

    :raises ChainUnknown: when it does not exist, or `by` may not see it
    :raises ArtifactNotYours: when `by` is not a user who may archive it
    :raises ArchiveReasonRequired: when the reason is empty or too long
    :raises IllegalTransition: when it is archived
    """
    seen = selectors.artifact_version(by, artifact_id, version_id)
    _require_archive(seen, by)
    if not is_visible(reason) or not is_storable(reason) or len(reason) > MAX_REASON:
        raise ArchiveReasonRequired(
            f"Cannot archive the version: give a reason (max {MAX_REASON} characters)."
        )
    with transaction.atomic(durable=True):
        change = ChainChange(seen.artifact.plan_id, by, at)
        version = selectors.artifact_version(by, artifact_id, seen.pk)
        change.archive(version, reason)
        change.close()
    return version


def fork(
    *,
    artifact_id: UUID,
    name: str,
    by: Actor,
    at: datetime,
    version_id: UUID | None = None,
    plan: str = "",
) -> ArtifactVersion:
    """Begin another artifact with a version, by default with the current one.

    It belongs to the same plan, or to another `plan`, which `by` must be able to edit.
    The version itself does not change.

    :raises RightMissing: when `by` may not propose
    :raises ChainUnknown: when it does not exist, or `by` may not see it
    :raises PlanUnknown: when `by` may not see the other plan
    :raises PlanNotPermitted: when `by` may not edit the plan of the fork
    :raises ForkNameInvalid: when the name is empty, too long or not plain text
    :raises ForkNameTaken: when the plan has an artifact of this name
    :raises VersionArchived: when the version is archived
    """
    require(by, Right.PROPOSE)
    seen = selectors.artifact_version(by, artifact_id, version_id)
    target = _target(seen, plan, by)
    _check_name(name)
    with transaction.atomic(durable=True):
        change = ChainChange(target.pk, by, at)
        # Locked, because its own plan may have another stream.
        rows = ArtifactVersion.objects.select_for_update(no_key=True)
        locked = rows.get(pk=seen.pk)
        if locked.state == ArtifactState.ARCHIVED:
            raise VersionArchived(version=str(seen.pk))
        if NamedArtifact.objects.filter(plan=target, name=name).exists():
            raise ForkNameTaken(plan=target.slug, name=name)
        version = change.fork(seen, name)
        change.close()
    return version


def may_archive(version: ArtifactVersion, by: Actor) -> bool:
    """Return True for those who may control its run.

    The run of a fork is that of its origin, so other people may archive the fork: who made
    it, those who may edit its plan, operators and admins.
    """
    if version.forked_from_id is None:
        return may_control(version.step_run.run, by)
    if by.kind is not ActorKind.USER:
        return False
    rights = rights_of(by)
    if Right.CONTROL in rights:
        return True
    return Right.PROPOSE in rights and (
        version.created_by == by.key
        or plans.may(by, PlanRight.EDIT, version.artifact.plan)
    )


def _require_archive(version: ArtifactVersion, by: Actor) -> None:
    if not may_archive(version, by):
        raise ArtifactNotYours(version=str(version.pk))


def _target(version: ArtifactVersion, plan: str, by: Actor) -> Plan:
    """Return the plan of a fork, which `by` may edit: a run of it supersedes the fork."""
    own = version.artifact.plan
    target = own if plan in {"", own.slug} else plans.get(by, plan)
    if not plans.may(by, PlanRight.EDIT, target):
        raise PlanNotPermitted(
            f"Cannot fork into the plan {target.slug!r}: you may not edit it. Ask its"
            " owner for the right."
        )
    return target


def _check_name(name: str) -> None:
    is_plain = is_visible(name) and is_storable(name) and name.isprintable()
    if not is_plain or name != name.strip() or len(name) > MAX_NAME:
        raise ForkNameInvalid(
            f"Cannot fork the version: the name {name[:60]!r} is not valid. Use one line"
            f" of at most {MAX_NAME} characters."
        )
