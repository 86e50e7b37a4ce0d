"""Start-up: the installed skills are registered, and code is compared with the registry."""

from dataclasses import dataclass
from datetime import datetime

from execfabric.accounts import people
from execfabric.accounts.authority import Role
from execfabric.lib.actor import Actor, system
from orchestration.skills import builtin, selectors
from orchestration.skills.domain.states import SkillState
from orchestration.skills.models import Skill
from orchestration.skills.services import registry

GRANTS = {
    "view_skill": (Role.PROPOSER, Role.OPERATOR, Role.ADMIN, Role.AUDITOR),
    "propose_skill": (Role.PROPOSER, Role.OPERATOR, Role.ADMIN),
    "publish_skill": (Role.ADMIN,),
}
"""Who may do what with a newly registered skill, until an admin changes it."""


@dataclass(frozen=True)
class Mismatch:
    """A published handler whose code is not the code installed here."""

    skill: str
    version: str
    handler: str


def sync(*, at: datetime) -> list[str]:
    """Register every installed skill; return the slugs, sorted."""
    people.ensure_roles(by=system("setup"), at=at)
    slugs = []
    for contract in builtin.contracts():
        known = Skill.objects.filter(slug=contract.slug).exists()
        registry.register(contract, source="built-in", by=system("setup"), at=at)
        if not known:
            skill = Skill.objects.get(slug=contract.slug)
            grant_defaults(skill, by=system("setup"), at=at)
        slugs.append(contract.slug)
    for found in mismatches():
        if builtin.find(found.handler) is not None:
            registry.rebind(slug=found.skill, by=system("setup"), at=at)
    return slugs


def grant_defaults(skill: Skill, *, by: Actor, at: datetime) -> None:
    """Give the role groups their usual rights on a skill."""
    people.set_object_rights(skill, GRANTS, label=f"skill:{skill.slug}", by=by, at=at)


def mismatches() -> list[Mismatch]:
    """Every handler of a current version that is missing or differs here.

    Such a step is refused when it is about to start; this says so beforehand.
    """
    ids = [
        str(pk)
        for pk in Skill.objects.exclude(state=SkillState.DRAFT).values_list(
            "current_id", flat=True
        )
    ]
    return [
        Mismatch(pin.slug, pin.version, key)
        for pin in selectors.pinned(ids).values()
        for key in pin.code
        if not selectors.handler_fits(pin, key)
    ]
