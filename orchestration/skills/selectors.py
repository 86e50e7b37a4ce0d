"""Reading the registry: skills, versions, who may use them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from django.db.models import QuerySet
from guardian.shortcuts import get_objects_for_user

from execfabric import database
from execfabric.accounts import authority
from execfabric.accounts.authority import Right
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, ActorKind
from orchestration.skills import builtin
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain.contract import SkillContract
from orchestration.skills.domain.states import SkillState, VersionState
from orchestration.skills.errors import SkillUnknown, SkillVersionUnknown
from orchestration.skills.models import DIGEST_DOMAIN, Skill, SkillVersion

PINNED = """
SELECT version.id, skill.slug, version.version, skill.state, version.state, version.body
FROM skills_skillversion AS version JOIN skills_skill AS skill
  ON skill.id = version.skill_id WHERE version.id IN
"""
"""Rows for `pinned_from`; the ids, or a query for them, follow."""


@dataclass(frozen=True)
class Pinned:
    """A skill version as the engine reads it at the moment of use."""

    version_id: str
    slug: str
    version: str
    skill_state: str
    version_state: str
    digest: str
    """Computed from the bytes that are stored now."""
    contract: SkillContract
    code: Mapping[str, str]
    """Per handler key the digest of the code that was published."""


def visible_to(by: Actor) -> QuerySet[Skill]:
    """The skills that `by` may see."""
    return _permitted(by, "view_skill")


def may(by: Actor, permission: str, skill: Skill) -> bool:
    """Whether `by` has `propose_skill` or `publish_skill` on a skill."""
    return _permitted(by, permission).filter(pk=skill.pk).exists()


def permitted_slugs(by: Actor, permission: str) -> frozenset[str]:
    """The slugs of the skills on which `by` has a permission."""
    return frozenset(_permitted(by, permission).values_list("slug", flat=True))


def get(by: Actor, slug: str) -> Skill:
    """A visible skill.

    :raises SkillUnknown: when it does not exist or is hidden from `by`
    """
    skill = visible_to(by).filter(slug=slug).select_related("current").first()
    if skill is None:
        raise SkillUnknown(f"There is no skill {slug}, or it is hidden from you.")
    return skill


def version(by: Actor, version_id: UUID) -> SkillVersion:
    """A version of a visible skill; drafts only for those who may publish it.

    :raises SkillVersionUnknown: when it does not exist or is hidden from `by`
    """
    found = (
        SkillVersion.objects.select_related("skill")
        .filter(pk=version_id, skill__in=visible_to(by))
        .first()
    )
    if found is None:
        raise SkillVersionUnknown(version=str(version_id))
    if found.state == VersionState.DRAFT and not may(by, "publish_skill", found.skill):
        raise SkillVersionUnknown(version=str(version_id))
    return found


def pinned(ids: Iterable[str]) -> dict[str, Pinned]:
    """The pinned versions by id, read now."""
    wanted = sorted(set(ids))
    return pinned_from(database.rows(f"{PINNED} (SELECT unnest(%s::uuid[]))", [wanted]))


def pinned_from(rows: Iterable[database.Row]) -> dict[str, Pinned]:
    """What the rows of a `PINNED` query say, by id."""
    found = {}
    for pk, slug, number, skill_state, state, body in rows:
        parsed = _parsed(bytes(body))
        found[str(pk)] = Pinned(str(pk), slug, number, skill_state, state, *parsed)
    return found


def usable(skill_state: str, version_state: str) -> bool:
    """Whether a step may start with a skill and version in these states."""
    return (
        skill_state in {SkillState.ACTIVE, SkillState.DEPRECATED}
        and version_state == VersionState.PUBLISHED
    )


def handler_fits(pin: Pinned, key: str) -> bool:
    """Whether this installation has the very code that was published for a handler."""
    found = builtin.find(key)
    return found is not None and found.code_sha256 == pin.code.get(key)


def _permitted(by: Actor, permission: str) -> QuerySet[Skill]:
    if by.kind is ActorKind.SYSTEM:
        return Skill.objects.all()
    person = authority.person_of(by)
    if person is None:
        return Skill.objects.none()
    rights = authority.rights_of(by)
    if permission == "publish_skill" and Right.REGISTRY not in rights:
        return Skill.objects.none()
    allowed = get_objects_for_user(
        person, f"skills.{permission}", klass=Skill, with_superuser=False
    )
    return Skill.objects.filter(pk__in=allowed.values("pk"))


@lru_cache(maxsize=256)
def _parsed(body: bytes) -> tuple[str, SkillContract, Mapping[str, str]]:
    content = canonical.loads(body)
    digest = hashlib.sha256(DIGEST_DOMAIN.encode() + b"\n" + body).hexdigest()
    return digest, contracts.from_json(content["contract"]), content["code"]
