"""The start page."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from execfabric.home import page as home_page
from execfabric.lib import clock
from execfabric.web.http import HttpRequest, page


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show what concerns the user."""
    context = {"home": home_page.of(request.user.actor(), at=clock.now())}
    return page(request, "home/home.html", context)
