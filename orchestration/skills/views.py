"""The pages of the registry: search, read, edit and publish skills."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, form_on, page
from orchestration.skills import selectors
from orchestration.skills.domain import differences
from orchestration.skills.domain.contract import ActionContract, SkillContract
from orchestration.skills.domain.examples import example_step
from orchestration.skills.domain.states import (
    SKILL,
    SkillEvent,
    SkillState,
    VersionState,
)
from orchestration.skills.errors import SkillNotPermitted
from orchestration.skills.forms import (
    STATE_EVENTS,
    FacetForm,
    PublishForm,
    StateForm,
    VersionForm,
)
from orchestration.skills.listing import FACETS, SkillListing, listing
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services import registry

PAGE = 50


@require_safe
def skills(request: HttpRequest) -> HttpResponse:
    """List the visible skills. The counts leave out hidden skills too."""
    form = FacetForm(request.GET)
    form.is_valid()
    chosen = {name: value for name, value in form.cleaned_data.items() if value}
    by = request.user.actor()
    facets = {name: value for name, value in chosen.items() if name in FACETS}
    result = listing(by, text=chosen.get("q", ""), facets=facets)
    after = request.GET.get("after", "")
    slugs = [line.skill.slug for line in result.lines]
    start = slugs.index(after) + 1 if after in slugs else 0
    lines = result.lines[start : start + PAGE]
    editable = selectors.permitted(by, "publish_skill")
    listed = [line.skill.pk for line in lines]
    waiting = selectors.waiting(editable.filter(pk__in=listed))
    has_more = len(result.lines) > start + PAGE
    following = lines[-1].skill.slug if has_more else ""
    context = {
        "form": form,
        "chosen": chosen,
        "facets": _facets(result, chosen, request.GET),
        "is_near": result.is_near,
        "total": len(result.lines),
        "lines": [(line, waiting.get(line.skill.pk)) for line in lines],
        "following": following,
    }
    return page(request, "skills/skills.html", context)


@require_safe
def skill(request: HttpRequest, slug: str) -> HttpResponse:
    return _skill_page(request, slug)


@form_on("skill", "slug")
def skill_state(request: HttpRequest, slug: str) -> HttpResponse:
    form = StateForm(request.POST)
    if not form.is_valid():
        return _skill_page(request, slug, state_form=form, status=422)
    event = SkillEvent(form.cleaned_data["event"])
    try:
        registry.set_state(
            slug=slug,
            event=event,
            reason=form.cleaned_data["reason"],
            by=request.user.actor(),
            at=clock.now(),
        )
    except Missing:
        raise
    except Refusal as refusal:
        return _skill_page(request, slug, state_form=form, refusal=refusal)
    messages.success(request, f"The skill {slug} was {event}.")
    return redirect("skill", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
def skill_edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Create a draft of the next version, or edit one (`?draft=`)."""
    by = request.user.actor()
    skill_row = selectors.get(by, slug)
    if not selectors.may(by, "publish_skill", skill_row):
        raise SkillNotPermitted
    draft = _draft(by, skill_row, request.GET.get("draft", ""))
    contract = _base(skill_row, draft)
    data = request.POST if request.method == "POST" else None
    form = VersionForm(contract, data, draft=draft)
    context: dict[str, Any] = {"skill": skill_row, "draft": draft, "form": form}
    if data is None:
        return page(request, "skills/edit.html", context)
    if not form.is_valid():
        return page(request, "skills/edit.html", context, status=422)
    try:
        saved = _save(skill_row, draft, form, by=by)
    except Refusal as refusal:
        return page(request, "skills/edit.html", {**context, "refusal": refusal})
    return redirect("skill_version", slug=slug, pk=saved.pk)


def _skill_page(
    request: HttpRequest,
    slug: str,
    *,
    state_form: StateForm | None = None,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    by = request.user.actor()
    skill_row = selectors.get(by, slug)
    may_publish = selectors.may(by, "publish_skill", skill_row)
    editable = [skill_row] if may_publish else []
    versions = skill_row.versions.order_by("-created_at", "-id")
    if not may_publish:
        versions = versions.exclude(state=VersionState.DRAFT)
    state = SkillState(skill_row.state)
    contract = selectors.contract_for(by, skill_row.current)
    context = {
        "skill": skill_row,
        "contract": contract,
        "actions": _actions(skill_row, contract),
        "waiting": selectors.waiting(editable).get(skill_row.pk),
        "versions": list(versions),
        "may_publish": may_publish,
        "may_propose": selectors.may(by, "propose_skill", skill_row),
        "events": [
            event
            for event in STATE_EVENTS
            if may_publish and SKILL.allows(state, event)
        ],
        "state_form": state_form or StateForm(),
        "refusal": refusal,
    }
    return page(request, "skills/skill.html", context, status=status)


def version_page(
    request: HttpRequest,
    slug: str,
    pk: UUID,
    *,
    uses: Sequence[Any],
    form: PublishForm | None = None,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render a version; a draft with its changes and a form to publish it.

    `uses` are the plans that use the skill, from the views of `plans`.
    """
    by = request.user.actor()
    skill_row = selectors.get(by, slug)
    version = selectors.version(by, pk)
    if version.skill_id != skill_row.pk:
        raise Missing
    is_draft = version.state == VersionState.DRAFT
    current = skill_row.current
    is_other = current is not None and current.pk != version.pk
    before = selectors.contract_for(by, current if is_other else None)
    contract = selectors.contract_for(by, version) or version.contract()
    changes = differences.between(before, contract) if is_draft or before else []
    looser = sum(1 for one in changes if one.weight is differences.Weight.LOOSER)
    context = {
        "skill": skill_row,
        "version": version,
        "contract": contract,
        "actions": _actions(skill_row, contract),
        "current": current,
        "is_draft": is_draft,
        "changes": changes,
        "looser": looser,
        "needs_second": bool(is_draft and before and looser),
        "wrote_it": by.key in version.authors(),
        "uses": uses,
        "form": form or PublishForm(),
        "code": version.content().get("code", {}),
        "refusal": refusal,
    }
    return page(request, "skills/version.html", context, status=status)


def _facets(
    result: SkillListing, chosen: Mapping[str, str], query: QueryDict
) -> Iterator[tuple[str, str, list[tuple[str, int]], str]]:
    """Yield each facet: the rest of the query, value counts, the choice."""
    for facet, counts in result.counts.items():
        others = query.copy()
        for name in (facet, "after"):
            others.pop(name, None)
        yield facet, others.urlencode(), sorted(counts.items()), chosen.get(facet, "")


def _actions(
    skill: Skill, contract: SkillContract | None
) -> list[tuple[ActionContract, str]]:
    """Return the actions of a contract, each with an example step."""
    actions = contract.actions if contract else ()
    return [(action, example_step(skill.slug, action)) for action in actions]


def _draft(by: Actor, skill: Skill, text: str) -> SkillVersion | None:
    if not text:
        return None
    try:
        draft = selectors.version(by, UUID(text))
    except ValueError:
        raise Missing from None
    if draft.skill_id != skill.pk or draft.state != VersionState.DRAFT:
        raise Missing
    return draft


def _base(skill: Skill, draft: SkillVersion | None) -> SkillContract:
    source = draft or skill.current
    if source is None:
        raise Missing("The skill has no version to edit.")
    return source.contract()


def _save(
    skill: Skill, draft: SkillVersion | None, form: VersionForm, *, by: Actor
) -> SkillVersion:
    changes, at = form.changes(), clock.now()
    if draft is not None:
        return registry.update_draft(version_id=draft.pk, changes=changes, by=by, at=at)
    number = form.cleaned_data["version"]
    return registry.draft_from(
        slug=skill.slug, changes=changes, version=number, by=by, at=at
    )
