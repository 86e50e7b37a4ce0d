"""The API of the registry: skills, their contracts and their versions."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
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

    @staticmethod
    def resolve_version(skill: Skill) -> str | None:
        return skill.current.version if skill.current else None

    @staticmethod
    def resolve_digest(skill: Skill) -> str | None:
        return skill.current.digest if skill.current else None


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

    @staticmethod
    def resolve_published_by(version: SkillVersion) -> str:
        return version.published_by_name


class SkillOut(SkillRow):
    """A skill with its current contract and its versions."""

    contract: dict[str, Any] | None
    versions: list[VersionRow]

    @staticmethod
    def resolve_contract(
        skill: Skill, context: dict[str, Any]
    ) -> dict[str, Any] | None:
        contract = selectors.contract_for(context["request"].auth, skill.current)
        return contracts.as_json(contract) if contract else None

    @staticmethod
    def resolve_versions(skill: Skill) -> QuerySet[SkillVersion]:
        published = skill.versions.exclude(state=VersionState.DRAFT)
        return published.order_by("-published_at")


@router.get("/skills", response=SkillList)
def list_skills(request: ApiRequest) -> dict[str, QuerySet[Skill]]:
    """Return the skills that the owner of the token may see."""
    visible = selectors.visible_to(request.auth).select_related("current")
    return {"items": visible.order_by("slug")}


@router.get("/skills/{slug:slug}", response=SkillOut)
def get_skill(request: ApiRequest, slug: str) -> Skill:
    """Return one skill with its current contract and its published versions.

    Admins and auditors see configuration values, others `[hidden]`.
    """
    return selectors.get(request.auth, slug)
