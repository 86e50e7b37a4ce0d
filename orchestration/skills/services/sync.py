"""Register shipped contracts and installed code, and compare code with the registry."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from django.db import transaction

from execfabric.identity import people
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Role
from orchestration.skills import installed, selectors
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain import rebase
from orchestration.skills.domain.contract import SkillContract
from orchestration.skills.domain.rebase import Then
from orchestration.skills.domain.states import SkillState, VersionState
from orchestration.skills.errors import VersionInvalid
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.selectors import Pinned
from orchestration.skills.services import versions

log = logging.getLogger(__name__)

GRANTS = {
    "view_skill": (Role.PROPOSER, Role.OPERATOR, Role.ADMIN, Role.AUDITOR),
    "propose_skill": (Role.PROPOSER, Role.OPERATOR, Role.ADMIN),
    "publish_skill": (Role.ADMIN,),
}
"""Default permissions on a newly registered skill."""


class Happened(StrEnum):
    REGISTERED = "registered"  # the skill is new
    PUBLISHED = "published"  # the shipped contract is now the current one
    REBOUND = "rebound"  # the current contract is bound to the installed code
    WAITING = "waiting"  # the shipped contract is a draft that an admin must review
    UNCHANGED = "unchanged"
    FAILED = "failed"  # see the notes; the skill is unchanged


@dataclass(frozen=True)
class Synced:
    slug: str
    happened: Happened
    version: str = ""
    notes: tuple[str, ...] = ()


OVER = frozenset({Happened.REGISTERED, Happened.PUBLISHED, Happened.FAILED})
"""Results after which there is no code to bind."""


def sync(*, at: datetime) -> list[Synced]:
    """Register all installed skills; return the result for each.

    A skill that cannot be registered is unchanged and does not stop the others.
    """
    people.ensure_roles(by=versions.SETUP, at=at)
    done = [
        _safely(contract.slug, partial(take, contract, at=at))
        for contract in installed.contracts()
    ]
    taken = {one.slug for one in done}
    others = Skill.objects.exclude(slug__in=taken).exclude(state=SkillState.DRAFT)
    slugs = [one.slug for one in done if one.happened not in OVER]
    for slug in [*slugs, *others.order_by("slug").values_list("slug", flat=True)]:
        rebound = _safely(slug, partial(_rebind, slug, at))
        if rebound.happened is not Happened.UNCHANGED:
            done.append(rebound)
    return done


@transaction.atomic
def _rebind(slug: str, at: datetime) -> Synced:
    skill = Skill.objects.select_for_update().get(slug=slug)
    made = versions.rebind(skill, at=at)
    if made is None:
        return Synced(slug, Happened.UNCHANGED)
    return Synced(slug, Happened.REBOUND, made.version)


def _safely(slug: str, act: Callable[[], Synced]) -> Synced:
    try:
        return act()
    except Refusal as error:
        return Synced(slug, Happened.FAILED, notes=(error.message,))
    except Exception:
        log.exception("Cannot synchronise the skill %s", slug)
        note = (
            "Cannot synchronize the skill: an unexpected error occurred. See the log."
        )
        return Synced(slug, Happened.FAILED, notes=(note,))


def grant_defaults(skill: Skill, *, at: datetime) -> None:
    label = f"skill:{skill.slug}"
    people.set_object_rights(skill, GRANTS, label=label, by=versions.SETUP, at=at)


def mismatches() -> list[tuple[Pinned, str]]:
    """Return current versions and their handlers that are missing or differ.

    Their steps would be refused when they start.
    """
    published = Skill.objects.exclude(state=SkillState.DRAFT)
    ids = map(str, published.values_list("current_id", flat=True))
    return [
        (pin, key)
        for pin in selectors.pinned(ids).values()
        for key in pin.code
        if not selectors.handler_fits(pin, key)
    ]


@transaction.atomic
def take(contract: SkillContract, *, at: datetime) -> Synced:
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
        _publish(skill, contract, contract, at=at)
        grant_defaults(skill, at=at)
        return Synced(skill.slug, Happened.REGISTERED, contract.version)
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
        _publish(skill, made, contract, at=at)
        return Synced(skill.slug, Happened.PUBLISHED, made.version, notes)
    base = contracts.as_json(contract)
    by = versions.SETUP
    versions.write_draft(skill, made, shipped=base, by=by, at=at, notes=notes)
    return Synced(skill.slug, Happened.WAITING, made.version, notes)


def _publish(
    skill: Skill, made: SkillContract, shipped: SkillContract, *, at: datetime
) -> None:
    base, by = contracts.as_json(shipped), versions.SETUP
    draft = versions.write_draft(skill, made, shipped=base, by=by, at=at)
    versions.make_current(draft, by=by, at=at)


def _waiting(skill: Skill, shipped: SkillContract) -> SkillVersion | None:
    """Return the draft with this contract that already waits for an admin."""
    for draft in skill.versions.filter(state=VersionState.DRAFT, shipped__isnull=False):
        is_newer = draft.shipped != (skill.current.shipped if skill.current else None)
        if is_newer and draft.shipped_contract() == shipped:
            return draft
    return None
