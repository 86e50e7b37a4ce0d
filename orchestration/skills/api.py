"""The API of the registry: skills, their contracts and their versions."""

from datetime import datetime
from typing import Any

from ninja import Router, Schema

from execfabric.identity.http import ApiRequest
from orchestration.skills import selectors
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain.states import VersionState
from orchestration.skills.models import Skill, SkillVersion

router = Router(tags=["skills"])


class SkillRow(Schema):
    """A skill in a list."""

    slug: str
    name: str
    description: str
    domain: str
    state: str
    source: str
    version: str | None
    digest: str | None


class SkillList(Schema):
    """The visible skills."""

    items: list[SkillRow]


class VersionRow(Schema):
    """A version of a skill."""

    version: str
    state: str
    digest: str
    published_at: datetime | None
    published_by: str


class SkillOut(SkillRow):
    """A skill with its current contract and its versions."""

    contract: dict[str, Any] | None
    versions: list[VersionRow]


@router.get("/skills", response=SkillList)
def list_skills(request: ApiRequest) -> SkillList:
    """Return the skills that the owner of the token may see."""
    visible = selectors.visible_to(request.auth).select_related("current")
    return SkillList(
        items=[SkillRow(**_row(skill)) for skill in visible.order_by("slug")]
    )


@router.get("/skills/{slug:slug}", response=SkillOut)
def get_skill(request: ApiRequest, slug: str) -> SkillOut:
    """Return one skill with its current contract and its published versions.

    Admins and auditors see configuration values, others `[hidden]`.
    """
    skill = selectors.get(request.auth, slug)
    published = skill.versions.exclude(state=VersionState.DRAFT)
    current = selectors.contract_for(request.auth, skill.current)
    return SkillOut(
        **_row(skill),
        contract=contracts.as_json(current) if current else None,
        versions=[_version(row) for row in published.order_by("-published_at")],
    )


def _row(skill: Skill) -> dict[str, Any]:
    current = skill.current
    return {
        "slug": skill.slug,
        "name": skill.name,
        "description": skill.description,
        "domain": skill.domain,
        "state": skill.state,
        "source": skill.source,
        "version": current.version if current else None,
        "digest": current.digest if current else None,
    }


def _version(row: SkillVersion) -> VersionRow:
    return VersionRow(
        version=row.version,
        state=row.state,
        digest=row.digest,
        published_at=row.published_at,
        published_by=row.published_by_name,
    )
