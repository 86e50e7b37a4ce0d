"""URLs of pages and API; health checks are in `web.health`, sockets in `asgi`."""

from django.urls import include, path, re_path

from execfabric.api import api, route_unknown
from execfabric.home import home

handler400 = "execfabric.web.errors.bad_request"
handler500 = "execfabric.web.errors.server_error"

urlpatterns = [
    path("", home, name="home"),
    path("", include("execfabric.help.urls")),
    path("", include("execfabric.web.urls")),
    path("accounts/", include("execfabric.identity.urls")),
    path("", include("approvals.urls")),
    path("", include("orchestration.plans.urls")),
    path("", include("orchestration.runs.urls")),
    path("", include("orchestration.triggers.urls")),
    path("", include("orchestration.skills.urls")),
    path("", include("orchestration.trace.urls")),
    path("api/v1/", api.urls),
    path("api/", route_unknown),
    re_path(r"^api/[\s\S]*\Z", route_unknown),  # a path may have line breaks
]
