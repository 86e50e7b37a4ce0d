"""Register shipped contracts and installed code, one skill at a time."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.db import transaction

from execfabric.lib.actor import Actor
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain import rebase
from orchestration.skills.domain.contract import SkillContract
from orchestration.skills.domain.rebase import Then
from orchestration.skills.domain.states import SkillState, VersionState
from orchestration.skills.errors import VersionInvalid
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services import versions


class Happened(StrEnum):
    """The result of synchronising a shipped skill."""

    REGISTERED = "registered"  # the skill is new
    PUBLISHED = "published"  # the shipped contract is now the current one
    REBOUND = "rebound"  # the current contract is bound to the installed code
    WAITING = "waiting"  # the shipped contract is a draft that an admin must review
    UNCHANGED = "unchanged"
    FAILED = "failed"  # see the notes; the skill is unchanged


@dataclass(frozen=True)
class Synced:
    """The result of a synchronisation for one skill."""

    slug: str
    happened: Happened
    version: str = ""
    notes: tuple[str, ...] = ()


@transaction.atomic
def take(contract: SkillContract, *, by: Actor, at: datetime) -> Synced:
    """Register, publish or draft a shipped contract, see `rebase.decide`.

    :raises VersionInvalid: when its number does not have the form 1.2.3
    :raises ContractUnreadable: when a newer release wrote the current version
    """
    if not versions.VERSION_NUMBER.fullmatch(contract.version):
        raise VersionInvalid(version=contract.version)
    skill, is_new = Skill.objects.get_or_create(
        slug=contract.slug,
        defaults={
            "name": contract.name,
            "description": contract.description,
            "domain": contract.domain,
            "source": "built-in",
            "created_at": at,
        },
    )
    skill = Skill.objects.select_for_update().get(pk=skill.pk)
    if is_new:
        return _published(skill, contract, contract, Happened.REGISTERED, by=by, at=at)
    if waiting := _waiting(skill, contract):
        return Synced(skill.slug, Happened.WAITING, waiting.version)
    current = skill.current
    if current is None:
        return Synced(skill.slug, Happened.UNCHANGED)
    decision = rebase.decide(
        current=current.contract(),
        shipped=contract,
        base=current.shipped_contract(),
        state=SkillState(skill.state),
        taken=set(skill.versions.values_list("version", flat=True)),
    )
    made, notes = decision.contract, decision.notes
    if decision.then is Then.KEEP or made is None:
        return Synced(skill.slug, Happened.UNCHANGED, current.version, notes)
    if decision.then is Then.PUBLISH:
        done = _published(skill, made, contract, Happened.PUBLISHED, by=by, at=at)
        return replace(done, notes=notes)
    base = contracts.as_json(contract)
    versions.write_draft(skill, made, shipped=base, by=by, at=at, notes=notes)
    return Synced(skill.slug, Happened.WAITING, made.version, notes)


@transaction.atomic
def rebind(*, slug: str, by: Actor, at: datetime) -> Synced:
    """Bind a skill to the installed code, see `versions.rebind`.

    :raises HandlerMissing: when a handler of the current version is not installed
    """
    skill = Skill.objects.select_for_update().get(slug=slug)
    made = versions.rebind(skill, by=by, at=at)
    if made is None:
        return Synced(slug, Happened.UNCHANGED)
    return Synced(slug, Happened.REBOUND, made.version)


def _published(
    skill: Skill,
    contract: SkillContract,
    shipped: SkillContract,
    happened: Happened,
    *,
    by: Actor,
    at: datetime,
) -> Synced:
    base = contracts.as_json(shipped)
    draft = versions.write_draft(skill, contract, shipped=base, by=by, at=at)
    versions.make_current(draft, by=by, at=at)
    return Synced(skill.slug, happened, contract.version)


def _waiting(skill: Skill, shipped: SkillContract) -> SkillVersion | None:
    """Return the draft with this contract that already waits for an admin."""
    for draft in skill.versions.filter(state=VersionState.DRAFT, shipped__isnull=False):
        is_newer = draft.shipped != (skill.current.shipped if skill.current else None)
        if is_newer and draft.shipped_contract() == shipped:
            return draft
    return None
