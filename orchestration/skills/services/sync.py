"""Register installed skills at start-up, and compare their code with the registry."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import transaction

from execfabric.identity import people
from execfabric.lib.actor import Actor, system
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Role
from orchestration.skills import installed, selectors
from orchestration.skills.domain.contract import SkillContract
from orchestration.skills.domain.states import SkillState
from orchestration.skills.models import Skill
from orchestration.skills.services import shipped
from orchestration.skills.services.shipped import Happened, Synced

SETUP = system("setup")
OVER = frozenset({Happened.REGISTERED, Happened.PUBLISHED, Happened.FAILED})
"""Results after which there is no code to bind."""
log = logging.getLogger(__name__)

GRANTS = {
    "view_skill": (Role.PROPOSER, Role.OPERATOR, Role.ADMIN, Role.AUDITOR),
    "propose_skill": (Role.PROPOSER, Role.OPERATOR, Role.ADMIN),
    "publish_skill": (Role.ADMIN,),
}
"""Default permissions on a newly registered skill."""


@dataclass(frozen=True)
class Mismatch:
    """A published handler whose code differs from the installed code."""

    skill: str
    version: str
    handler: str


def sync(*, at: datetime) -> list[Synced]:
    """Register all installed skills; return the result for each.

    A skill that cannot be registered is unchanged and does not stop the others.
    """
    people.ensure_roles(by=SETUP, at=at)
    done = [
        _safely(contract.slug, partial(_take, contract, at))
        for contract in installed.contracts()
    ]
    taken = {one.slug for one in done}
    others = Skill.objects.exclude(slug__in=taken).exclude(state=SkillState.DRAFT)
    slugs = [one.slug for one in done if one.happened not in OVER]
    for slug in [*slugs, *others.order_by("slug").values_list("slug", flat=True)]:
        rebound = _safely(slug, partial(shipped.rebind, slug=slug, by=SETUP, at=at))
        if rebound.happened is not Happened.UNCHANGED:
            done.append(rebound)
    return done


@transaction.atomic
def _take(contract: SkillContract, at: datetime) -> Synced:
    done = shipped.take(contract, by=SETUP, at=at)
    if done.happened is Happened.REGISTERED:
        skill = Skill.objects.get(slug=contract.slug)
        grant_defaults(skill, by=SETUP, at=at)
    return done


def _safely(slug: str, act: Callable[[], Synced]) -> Synced:
    """Run `act`; return a failure as a result."""
    try:
        return act()
    except Refusal as error:
        return Synced(slug, Happened.FAILED, notes=(error.message,))
    except Exception:
        log.exception("Cannot synchronise the skill %s", slug)
        note = "Cannot synchronise the skill: an unexpected error. See the log."
        return Synced(slug, Happened.FAILED, notes=(note,))


def grant_defaults(skill: Skill, *, by: Actor, at: datetime) -> None:
    """Give role groups their default permissions on a skill."""
    people.set_object_rights(skill, GRANTS, label=f"skill:{skill.slug}", by=by, at=at)


def mismatches() -> list[Mismatch]:
    """Return the handlers of current versions that are missing or differ here.

    Their steps would be refused when they start.
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
