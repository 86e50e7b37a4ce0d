"""Read the registry: skills, versions, and permissions on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from guardian.shortcuts import get_objects_for_user

from execfabric.identity import authority
from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.memo import DigestCache
from execfabric.lib.redaction import without_values
from execfabric.lib.refusal import Missing
from execfabric.lib.rights import Right
from orchestration.skills import installed
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain import rebase
from orchestration.skills.domain.contract import ActionContract, SkillContract
from orchestration.skills.domain.examples import example_step
from orchestration.skills.domain.states import SkillState, VersionState
from orchestration.skills.errors import (
    ContractUnreadable,
    SkillUnknown,
    SkillVersionUnknown,
)
from orchestration.skills.models import DIGEST_DOMAIN, Skill, SkillVersion

PINNED = """
SELECT version.id, skill.slug, version.version, skill.state, version.state, version.body
FROM skills_skillversion AS version JOIN skills_skill AS skill
  ON skill.id = version.skill_id WHERE version.id IN
"""
"""Selects rows for `pinned_from`; append the ids or a query for them."""


@dataclass(frozen=True)
class Pinned:
    """A skill version that the engine has just read."""

    version_id: str
    slug: str
    version: str
    skill_state: str
    version_state: str
    digest: str
    """The digest of the stored bytes, computed when they were read."""
    read: SkillContract | ContractUnreadable
    """The contract, or the reason why this release cannot read it."""
    code: Mapping[str, str]
    """The digest of the published code by handler key."""

    @property
    def contract(self) -> SkillContract:
        """The contract.

        :raises ContractUnreadable: when this release cannot read it
        """
        if isinstance(self.read, ContractUnreadable):
            message = f"{self.slug} {self.version}: {self.read.message}"
            raise ContractUnreadable(message, skill=self.slug, **self.read.details)
        return self.read

    @property
    def readable(self) -> SkillContract | None:
        """The contract; None if this release cannot read it."""
        return None if isinstance(self.read, ContractUnreadable) else self.read

    def action(self, name: str) -> ActionContract | None:
        """Return an action; None if it is unknown or cannot be read."""
        return self.readable.action(name) if self.readable else None


def permitted(by: Actor, permission: str) -> QuerySet[Skill]:
    """Return the skills on which `by` has a permission."""
    return Skill.objects.filter(pk__in=_allowed(by, permission).values("pk"))


def _allowed(by: Actor, permission: str) -> QuerySet[Skill]:
    """Return the same as a query that is not to be filtered further."""
    if by.kind is ActorKind.SYSTEM:
        return Skill.objects.all()
    person = authority.person_of(by)
    if person is None:
        return Skill.objects.none()
    if permission == "publish_skill" and Right.REGISTRY not in authority.rights_of(by):
        return Skill.objects.none()
    allowed: QuerySet[Skill] = get_objects_for_user(
        person, f"skills.{permission}", klass=Skill, with_superuser=False
    )
    return allowed


def visible_to(by: Actor) -> QuerySet[Skill]:
    return permitted(by, "view_skill")


def permitted_slugs(by: Actor, permission: str) -> frozenset[str]:
    return frozenset(_allowed(by, permission).values_list("slug", flat=True))


def may(by: Actor, permission: str, skill: Skill) -> bool:
    return permitted(by, permission).filter(pk=skill.pk).exists()


def get(by: Actor, slug: str) -> Skill:
    """Return a visible skill.

    :raises SkillUnknown: when it does not exist or is hidden from `by`
    """
    skill = visible_to(by).select_related("current").filter(slug=slug).first()
    if skill is None:
        raise SkillUnknown(f"Unknown skill {slug!r}, or you do not have access to it.")
    return skill


def contract_for(by: Actor, version: SkillVersion | None) -> SkillContract | None:
    """Return the contract of a version as `by` may see it; None if unreadable."""
    contract = version.readable() if version else None
    if contract is None or Right.CONFIG in authority.rights_of(by):
        return contract
    return replace(contract, config=without_values(contract.config))


def example(by: Actor, slug: str, action: str = "") -> str:
    """Return an example step in YAML for an action, or for the first one of the skill.

    :raises Missing: when it does not exist or is hidden from `by`
    """
    contract = contract_for(by, get(by, slug).current)
    known = {one.name: one for one in (contract.actions if contract else ())}
    found = known.get(action) if action else next(iter(known.values()), None)
    if found is None:
        raise Missing(f"Unknown action {action!r} of {slug}.")
    return example_step(slug, found)


def version(by: Actor, version_id: UUID) -> SkillVersion:
    """Return a version of a visible skill; drafts require the right to publish.

    :raises SkillVersionUnknown: when it does not exist or is hidden from `by`
    """
    is_visible = Q(skill__in=visible_to(by))
    is_published = ~Q(state=VersionState.DRAFT)
    is_editable = Q(skill__in=permitted(by, "publish_skill"))
    versions = SkillVersion.objects.select_related("skill").filter(pk=version_id)
    version = versions.filter(is_visible, is_published | is_editable).first()
    if version is None:
        raise SkillVersionUnknown(version=str(version_id))
    return version


def waiting(skills: Iterable[Skill]) -> dict[UUID, SkillVersion]:
    """Return the shipped versions that an admin must review, by skill."""
    drafts = SkillVersion.objects.filter(
        skill__in=skills, state=VersionState.DRAFT, shipped__isnull=False
    )
    waiting_drafts = {}
    for draft in drafts.select_related("skill__current").order_by("created_at"):
        current = draft.skill.current
        if current is not None and _is_newer(draft.shipped, current.shipped):
            waiting_drafts[draft.skill_id] = draft
    return waiting_drafts


def _is_newer(shipped: Any, base: Any) -> bool:
    """Return True if a shipped contract came after the one that is current."""
    if base is None:
        return True
    numbers = [rebase.number_of(str(one.get("version"))) for one in (shipped, base)]
    return bool(shipped != base and numbers[0] >= numbers[1])


def pinned(ids: Iterable[str]) -> dict[str, Pinned]:
    wanted = sorted(set(ids))
    return pinned_from(database.rows(f"{PINNED} (SELECT unnest(%s::uuid[]))", [wanted]))


def pinned_from(rows: Iterable[database.Row]) -> dict[str, Pinned]:
    pins = {}
    for pk, slug, number, skill_state, state, body in rows:
        parsed = _parsed(bytes(body))
        pins[str(pk)] = Pinned(str(pk), slug, number, skill_state, state, *parsed)
    return pins


def usable(skill_state: str, version_state: str) -> bool:
    """Return True if a step may start with a skill and version in these states."""
    return (
        skill_state in {SkillState.ACTIVE, SkillState.DEPRECATED}
        and version_state == VersionState.PUBLISHED
    )


def handler_fits(pin: Pinned, key: str) -> bool:
    """Return True if the installed code of a handler is the published one."""
    handler = installed.find(key)
    return handler is not None and handler.has_code(pin.code.get(key, ""))


def installed_code(key: str) -> str | None:
    handler = installed.find(key)
    return handler.code_digest if handler else None


def _parse(
    body: bytes,
) -> tuple[str, SkillContract | ContractUnreadable, Mapping[str, str]]:
    content = canonical.loads(body)
    digest = canonical.digest(DIGEST_DOMAIN, body).hex()
    try:
        return digest, contracts.from_json(content["contract"]), content["code"]
    except ContractUnreadable as error:
        return digest, error.with_traceback(None), {}


_parsed = DigestCache(_parse, max_bytes=8 << 20)
