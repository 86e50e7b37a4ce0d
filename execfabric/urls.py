"""URLs of pages and API; health checks are in `web.health`, sockets in `asgi`."""

from django.urls import include, path

from execfabric.api import api, route_unknown

handler400 = "execfabric.web.errors.bad_request"
handler500 = "execfabric.web.errors.server_error"

urlpatterns = [
    path("", include("execfabric.home.urls")),
    path("", include("execfabric.help.urls")),
    path("", include("execfabric.web.urls")),
    path("accounts/", include("execfabric.identity.urls")),
    path("", include("approvals.urls")),
    path("", include("orchestration.plans.urls")),
    path("", include("orchestration.runs.urls")),
    path("", include("orchestration.skills.urls")),
    path("", include("orchestration.trace.urls")),
    path("api/v1/", api.urls),
    path("api/", route_unknown),
    path("api/<path:rest>", route_unknown),
]
