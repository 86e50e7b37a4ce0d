"""The registry's pages: find a skill, read what it promises, edit and publish it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing, Refusal
from execfabric.lib.risk import highest
from execfabric.web.http import HttpRequest, form_on, page
from execfabric.web.problems import STATUS
from orchestration.skills import selectors
from orchestration.skills.domain import differences
from orchestration.skills.domain.contract import (
    SkillContract,
)
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
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services import registry

PAGE = 50
FACETS = ("domain", "state", "source")


@require_safe
def skills(request: HttpRequest) -> HttpResponse:
    """The skills that a person may see; what is hidden is not counted either."""
    form = FacetForm(request.GET)
    form.is_valid()
    chosen = form.chosen()
    visible = selectors.visible_to(request.user.actor())
    found = _filtered(visible, chosen).select_related("current").order_by("slug")
    if after := request.GET.get("after", "").replace("\0", ""):
        found = found.filter(slug__gt=after)
    listed = list(found[: PAGE + 1])
    waiting = selectors.waiting(request.user.actor(), listed)
    context = {
        "form": form,
        "chosen": chosen,
        "facets": _facets(visible, request.GET),
        "lines": [
            (skill, _at_a_glance(skill), waiting.get(skill.pk))
            for skill in listed[:PAGE]
        ],
        "following": _address(request.GET, after=listed[PAGE - 1].slug)
        if len(listed) > PAGE
        else "",
        "paged": bool(after),
    }
    return page(request, "skills/skills.html", context)


@require_safe
def skill(request: HttpRequest, slug: str) -> HttpResponse:
    """One skill: what it may do, its actions, its versions."""
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
    messages.success(request, f"{slug} was {event}.")
    return redirect("skill", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
def skill_edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Make a draft of the next version, or go on with one (`?draft=`)."""
    by = request.user.actor()
    opened = selectors.opened(by, slug)
    found = opened.skill
    if not opened.may_publish:
        raise SkillNotPermitted
    draft = _draft(by, found, request.GET.get("draft", ""))
    contract = _base(found, draft)
    if request.method != "POST":
        form = VersionForm(contract, initial=starting_values(contract, draft))
        return page(request, "skills/edit.html", _editing(found, draft, form))
    form = VersionForm(contract, request.POST)
    context = _editing(found, draft, form)
    if not form.is_valid():
        return page(request, "skills/edit.html", context, status=422)
    try:
        saved = _save(found, draft, form, by=by)
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
    found, may_publish = opened.skill, opened.may_publish
    versions = found.versions.order_by("-created_at", "-id")
    if not may_publish:
        versions = versions.exclude(state=VersionState.DRAFT)
    state = SkillState(found.state)
    context = {
        "skill": found,
        "contract": selectors.contract_for(request.user.actor(), found.current),
        "waiting": selectors.waiting(request.user.actor(), [found]).get(found.pk),
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
    """Draw a version; a draft with its differences, who uses it, and how to publish it.

    `uses` are the plans that use the skill. Drawn for the views of `plans`, which know.
    """
    by = request.user.actor()
    found = selectors.get(by, slug)
    version = selectors.version(by, pk)
    if version.skill_id != found.pk:
        raise Missing
    is_draft = version.state == VersionState.DRAFT
    current = found.current
    is_other = current is not None and current.pk != version.pk
    before = selectors.contract_for(by, current if is_other else None)
    contract = selectors.contract_for(by, version) or version.contract()
    changes = differences.between(before, contract) if is_draft or before else []
    looser = sum(1 for one in changes if one.weight is differences.Weight.LOOSER)
    context = {
        "skill": found,
        "version": version,
        "contract": contract,
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


def _filtered(visible: QuerySet[Skill], chosen: Mapping[str, str]) -> QuerySet[Skill]:
    equal = {name: chosen[name] for name in FACETS if name in chosen}
    found = visible.filter(**equal)
    if text := chosen.get("q"):
        found = found.filter(
            Q(slug__icontains=text)
            | Q(name__icontains=text)
            | Q(description__icontains=text)
        )
    return found


def _facets(
    visible: QuerySet[Skill], address: QueryDict
) -> list[tuple[str, list[tuple[str, int, str, bool]]]]:
    """Per facet its values, how many skills have each, and the address that chooses it."""
    rows = list(visible.values_list(*FACETS))
    facets = []
    for place, facet in enumerate(FACETS):
        counts = Counter(row[place] for row in rows)
        chosen = address.get(facet, "")
        facets.append(
            (
                facet,
                [
                    (
                        value,
                        count,
                        _address(address, **{facet: "" if value == chosen else value}),
                        value == chosen,
                    )
                    for value, count in sorted(counts.items())
                ],
            )
        )
    return facets


def _address(address: QueryDict, **changes: str) -> str:
    changed = address.copy()
    changed.pop("after", None)
    for name, value in changes.items():
        changed[name] = value
        if not value:
            del changed[name]
    return changed.urlencode()


def _at_a_glance(skill: Skill) -> dict[str, Any]:
    """What a line of the list says of the current version."""
    contract = skill.current.readable() if skill.current else None
    if contract is None:
        return {"actions": [], "risk": "", "unreadable": skill.current is not None}
    actions = contract.actions
    risk = str(highest(action.risk for action in actions)) if actions else ""
    return {"actions": [action.name for action in actions], "risk": risk}


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
        raise Missing("This skill has no version to start from.")
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
