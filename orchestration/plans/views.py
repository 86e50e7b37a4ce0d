"""The page of a skill version and its publication, with the plans that use it."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from execfabric.lib import clock
from execfabric.lib.refusal import Invalid, Missing, Refusal
from execfabric.web.http import HttpRequest, form_on
from orchestration.plans import selectors
from orchestration.skills import selectors as skills
from orchestration.skills.forms import PublishForm
from orchestration.skills.services import registry
from orchestration.skills.views import version_page


@require_safe
def skill_version(request: HttpRequest, slug: str, pk: UUID) -> HttpResponse:
    """Show a version; for a draft, also its changes and the button to publish it."""
    return _page(request, slug, pk)


@form_on("skill_version", "slug", "pk")
def skill_publish(request: HttpRequest, slug: str, pk: UUID) -> HttpResponse:
    form, by = PublishForm(request.POST), request.user.actor()
    if not form.is_valid():
        invalid = Invalid(" ".join(map(str, form.errors.get("digest", ()))))
        return _page(request, slug, pk, form=form, refusal=invalid)
    try:
        uses = selectors.using(skills.version(by, pk).skill.slug)
        version = registry.publish(
            version_id=pk,
            **form.cleaned_data,
            affected=[use.plan.slug for use in uses],
            by=by,
            at=clock.now(),
        )
    except Missing:
        raise
    except Refusal as refusal:
        return _page(request, slug, pk, form=form, refusal=refusal)
    messages.success(request, f"{slug} {version.version} is published.")
    return redirect("skill", slug=slug)


def _page(request: HttpRequest, slug: str, pk: UUID, **context: Any) -> HttpResponse:
    return version_page(request, slug, pk, uses=selectors.using(slug), **context)
