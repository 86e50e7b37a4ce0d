"""Change the registry: drafts, publication, states of skills."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import services as audit
from execfabric.identity.authority import require
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import Right
from execfabric.lib.text import is_visible
from orchestration.skills import history, selectors
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain import differences, rebase
from orchestration.skills.domain.contract import (
    ActionContract,
    RetryRule,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.states import (
    SKILL,
    SkillEvent,
    SkillState,
    VersionState,
)
from orchestration.skills.errors import (
    ContractInvalid,
    DigestStale,
    HandlerMissing,
    ReasonRequired,
    SecondAdminRequired,
    SkillNotPermitted,
    VersionInvalid,
    VersionNotDraft,
    VersionTaken,
)
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services import versions

EDITABLE = frozenset({"description", "config", "allowed", "forbidden", "actions"})
EDITABLE_OF_ACTION = rebase.ADMINS


@transaction.atomic
def draft_from(
    *, slug: str, changes: Mapping[str, Any], version: str, by: Actor, at: datetime
) -> SkillVersion:
    """Create a draft from the current version with some changes.

    :raises SkillNotPermitted: without the right to publish this skill
    :raises VersionInvalid: when `version` is not of the form 1.2.3
    :raises VersionTaken: when the skill has that version already
    :raises ContractInvalid: when a change is not allowed or invalid
    """
    skill = selectors.get(by, slug)
    _require_publisher(by, skill)
    if not versions.VERSION_NUMBER.fullmatch(version):
        raise VersionInvalid(version=version)
    if SkillVersion.objects.filter(skill=skill, version=version).exists():
        raise VersionTaken(skill=slug, version=version)
    current = skill.current or skill.versions.latest("created_at")
    contract = changed(replace(current.contract(), version=version), changes)
    return versions.write_draft(skill, contract, shipped=current.shipped, by=by, at=at)


@transaction.atomic
def update_draft(
    *, version_id: UUID, changes: Mapping[str, Any], by: Actor, at: datetime
) -> SkillVersion:
    """Change a draft.

    :raises VersionNotDraft: when it is already published
    """
    draft = _locked(version_id, by)
    if draft.state != VersionState.DRAFT:
        raise VersionNotDraft(version=draft.version)
    draft.edited_by = sorted({*draft.edited_by, by.key})
    versions.rewrite(draft, changed(draft.contract(), changes), by=by, at=at)
    return draft


@transaction.atomic
def publish(
    *,
    version_id: UUID,
    digest: str,
    by: Actor,
    at: datetime,
    reason: str = "",
    affected: Sequence[str] = (),
) -> SkillVersion:
    """Publish a draft as the current version of its skill.

    `digest` is that of the content that the publisher reviewed. Runs keep the version
    that they were approved with. `affected` names the plans that use the skill, for the
    audit log.

    :raises DigestStale: when the draft has changed since
    :raises VersionNotDraft: when it is already published
    :raises HandlerMissing: when one of its handlers is not installed
    :raises SecondAdminRequired: when it weakens a safeguard and `by` wrote it
    :raises ReasonRequired: when it weakens a safeguard and the reason is missing
    """
    draft = _locked(version_id, by)
    if draft.state != VersionState.DRAFT:
        raise VersionNotDraft(version=draft.version)
    if draft.digest != digest:
        raise DigestStale(expected=draft.digest, found=digest)
    weakened = _require_second_admin(draft, reason, by=by)
    facts = {"reason": reason, "weakened": weakened, "plans": list(affected)}
    return versions.make_current(
        draft, by=by, at=at, facts=facts if reason or weakened else {}
    )


def _require_second_admin(draft: SkillVersion, reason: str, *, by: Actor) -> list[str]:
    """Require a second admin to weaken safeguards; return the weakened ones."""
    # Locked, so that the version compared with is the one that is replaced.
    skill = Skill.objects.select_for_update().get(pk=draft.skill_id)
    before = skill.current.contract() if skill.current else None
    changes = differences.weakened(before, draft.contract())
    weakened = [f"{change.where} {change.what}".strip() for change in changes]
    if not weakened or by.kind is ActorKind.SYSTEM:
        return weakened
    if by.key in draft.authors():
        raise SecondAdminRequired(weakened=weakened)
    if not is_visible(reason):
        raise ReasonRequired(weakened=weakened)
    return weakened


@transaction.atomic
def set_state(
    *, slug: str, event: SkillEvent, reason: str, by: Actor, at: datetime
) -> Skill:
    """Deprecate, quarantine or restore a skill.

    :raises ReasonRequired: without a reason
    :raises IllegalTransition: when its state has no such move
    """
    visible_skill = selectors.get(by, slug)
    _require_publisher(by, visible_skill)
    if not is_visible(reason):
        raise ReasonRequired
    skill = Skill.objects.select_for_update().get(pk=visible_skill.pk)
    source = SkillState(skill.state)
    skill.state = SKILL.next(source, event)
    skill.save(update_fields=["state"])
    fact = {"skill": slug, "from": str(source), "to": skill.state, "reason": reason}
    moved = audit.Fact(
        f"skill.{event}",
        fact,
        component=f"skill:{slug}",
        rows=(history.SKILL.changed(skill, {"state": skill.state}),),
    )
    audit.append(versions.STREAM, [moved], by=by, at=at)
    if event == SkillEvent.RESTORED:
        # An upgrade leaves a quarantined skill bound to the code of the old release.
        with suppress(HandlerMissing):
            versions.rebind(skill, at=at)
    return skill


def changed(contract: SkillContract, changes: Mapping[str, Any]) -> SkillContract:
    """Return the checked contract with the changes.

    :raises ContractInvalid: see `draft_from`
    """
    if unknown := set(changes) - EDITABLE:
        raise ContractInvalid(
            f"Cannot change {', '.join(sorted(unknown))}: not editable."
        )
    fields = {key: value for key, value in changes.items() if key != "actions"}
    for name in {"allowed", "forbidden"} & set(fields):
        fields[name] = tuple(fields[name])
    by_name: Mapping[str, Any] = changes.get("actions", {})
    if missing := set(by_name) - {action.name for action in contract.actions}:
        raise ContractInvalid(f"Unknown action {', '.join(sorted(missing))}.")
    actions = tuple(
        _changed(item, by_name.get(item.name, {})) for item in contract.actions
    )
    made = replace(contract, **fields, actions=actions)
    versions.check(made)
    return made


def _changed(action: ActionContract, changes: Mapping[str, Any]) -> ActionContract:
    if unknown := set(changes) - EDITABLE_OF_ACTION:
        raise ContractInvalid(
            f"Cannot change {', '.join(sorted(unknown))} of {action.name}: not editable."
        )
    fields = dict(changes)
    try:
        if "risk" in fields:
            fields["risk"] = Risk(fields["risk"])
        if "effect_class" in fields:
            fields["effect_class"] = contracts.EffectClass(fields["effect_class"])
        if "retry" in fields:
            fields["retry"] = RetryRule(**fields["retry"])
        if "limits" in fields:
            fields["limits"] = replace(action.limits, **fields["limits"])
        return replace(action, **fields)
    except (TypeError, ValueError) as error:
        raise ContractInvalid(f"Invalid value in {action.name}: {error}.") from error


def _locked(version_id: UUID, by: Actor) -> SkillVersion:
    version = selectors.version(by, version_id)
    _require_publisher(by, version.skill)
    return SkillVersion.objects.select_for_update().get(pk=version_id)


def _require_publisher(by: Actor, skill: Skill) -> None:
    if by.kind is not ActorKind.SYSTEM:
        require(by, Right.REGISTRY)
        if not selectors.may(by, "publish_skill", skill):
            raise SkillNotPermitted(skill=skill.slug)
