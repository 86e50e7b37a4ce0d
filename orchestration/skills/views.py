"""The pages of the registry: search, read, edit and publish skills."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, form_on, page
from execfabric.web.problems import STATUS
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
    FacetForm,
    PublishForm,
    StateForm,
    VersionForm,
    starting_values,
)
from orchestration.skills.listing import FACETS, SkillListing, listing
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services import registry

PAGE = 50


@require_safe
def skills(request: HttpRequest) -> HttpResponse:
    """List the visible skills. Hidden ones are not counted either."""
    form = FacetForm(request.GET)
    form.is_valid()
    chosen = form.chosen()
    by = request.user.actor()
    facets = {name: value for name, value in chosen.items() if name in FACETS}
    result = listing(by, text=chosen.get("q", ""), facets=facets)
    after = request.GET.get("after", "")
    slugs = [line.skill.slug for line in result.lines]
    start = slugs.index(after) + 1 if after in slugs else 0
    lines = result.lines[start : start + PAGE]
    waiting = selectors.waiting(by, [line.skill for line in lines])
    has_more = len(result.lines) > start + PAGE
    context = {
        "form": form,
        "chosen": chosen,
        "facets": _facets(result, request.GET),
        "is_near": result.is_near,
        "total": len(result.lines),
        "lines": [(line, waiting.get(line.skill.pk)) for line in lines],
        "following": _address(request.GET, after=lines[-1].skill.slug)
        if has_more
        else "",
    }
    return page(request, "skills/skills.html", context)


@require_safe
def skill(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one skill: what is allowed, its actions, its versions."""
    return _skill_page(request, slug)


@form_on("skill", "slug")
def skill_state(request: HttpRequest, slug: str) -> HttpResponse:
    """Deprecate, quarantine or restore a skill."""
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
        return _skill_page(
            request, slug, state_form=form, refusal=refusal, status=STATUS[refusal.kind]
        )
    messages.success(request, f"The skill {slug} was {event}.")
    return redirect("skill", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
def skill_edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Create a draft of the next version, or edit one (`?draft=`)."""
    by = request.user.actor()
    opened = selectors.opened(by, slug)
    skill_row = opened.skill
    if not opened.may_publish:
        raise SkillNotPermitted
    draft = _draft(by, skill_row, request.GET.get("draft", ""))
    contract = _base(skill_row, draft)
    if request.method != "POST":
        form = VersionForm(contract, initial=starting_values(contract, draft))
        return page(request, "skills/edit.html", _editing(skill_row, draft, form))
    form = VersionForm(contract, request.POST)
    context = _editing(skill_row, draft, form)
    if not form.is_valid():
        return page(request, "skills/edit.html", context, status=422)
    try:
        saved = _save(skill_row, draft, form, by=by)
    except Refusal as refusal:
        context["refusal"] = refusal
        return page(request, "skills/edit.html", context, status=STATUS[refusal.kind])
    return redirect("skill_version", slug=slug, pk=saved.pk)


def _skill_page(
    request: HttpRequest,
    slug: str,
    *,
    state_form: StateForm | None = None,
    refusal: Refusal | None = None,
    status: int = 200,
) -> HttpResponse:
    opened = selectors.opened(request.user.actor(), slug)
    skill_row, may_publish = opened.skill, opened.may_publish
    versions = skill_row.versions.order_by("-created_at", "-id")
    if not may_publish:
        versions = versions.exclude(state=VersionState.DRAFT)
    state = SkillState(skill_row.state)
    contract = selectors.contract_for(request.user.actor(), skill_row.current)
    context = {
        "skill": skill_row,
        "contract": contract,
        "actions": _actions(skill_row, contract),
        "waiting": selectors.waiting(request.user.actor(), [skill_row]).get(
            skill_row.pk
        ),
        "versions": list(versions),
        "may_publish": may_publish,
        "may_propose": opened.may_propose,
        "events": [
            event
            for event in _state_events()
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
        "may_publish": is_draft,  # a draft is only visible to those who may
        "refusal": refusal,
    }
    return page(request, "skills/version.html", context, status=status)


def _facets(
    result: SkillListing, address: QueryDict
) -> list[tuple[str, list[tuple[str, int, str, bool]]]]:
    """Return per facet its values, each with a count, an address, and if it is chosen."""
    facets = []
    for facet, counts in result.counts.items():
        chosen = address.get(facet, "")
        values = [
            (
                value,
                count,
                _address(address, **{facet: "" if value == chosen else value}),
                value == chosen,
            )
            for value, count in sorted(counts.items())
        ]
        facets.append((facet, values))
    return facets


def _address(address: QueryDict, **changes: str) -> str:
    changed = address.copy()
    changed.pop("after", None)
    for name, value in changes.items():
        changed[name] = value
        if not value:
            del changed[name]
    return changed.urlencode()


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


def _editing(
    skill: Skill, draft: SkillVersion | None, form: VersionForm
) -> dict[str, Any]:
    if draft is not None:
        form.fields["version"].disabled = True
        form.fields["version"].initial = draft.version
    return {"skill": skill, "draft": draft, "form": form, "refusal": None}


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


def _state_events() -> tuple[SkillEvent, ...]:
    return (SkillEvent.DEPRECATED, SkillEvent.QUARANTINED, SkillEvent.RESTORED)
