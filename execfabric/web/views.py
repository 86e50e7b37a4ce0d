"""The style guide."""

from datetime import timedelta

from django.conf import settings
from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from execfabric.lib import clock
from execfabric.web import looks
from execfabric.web.http import HttpRequest, page

SAMPLE = {
    "month": "2026-09",
    "rows": 1284,
    "to": ["published/", "archive/"],
    "token": {"$secret": "jira-token"},
    "note": "plain text, and a hidden \u202econtrol",
}


@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    """Show all parts of pages; in development only."""
    if settings.PRODUCTION:
        raise Http404
    at = clock.now()
    context = {
        "states": list(looks.STATES),
        "risks": list(looks.RISKS),
        "tones": list(looks.Tone),
        "moments": [at, at - timedelta(minutes=5), at + timedelta(hours=3)],
        "begun": at - timedelta(seconds=75),
        "digest": "9f2c64e1" * 8,
        "sample": SAMPLE,
    }
    return page(request, "web/styleguide.html", context)
