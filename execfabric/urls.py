"""Every address of the web server but health (`web.health`) and websockets (`asgi`)."""

from django.urls import include, path

from execfabric.api import api, route_unknown
from orchestration.verification import views as verification

handler400 = "execfabric.console.views.bad_request"
handler500 = "execfabric.web.errors.server_error"

STREAMS = {"reads": verification.may_read, "verify": verification.verified}

urlpatterns = [
    path("", include("execfabric.console.urls")),
    path("accounts/", include("execfabric.accounts.urls")),
    path("", include("approvals.urls")),
    path("", include("orchestration.plans.urls")),
    path("", include("orchestration.runs.urls")),
    path("", include("orchestration.skills.urls")),
    path("", include("orchestration.verification.urls")),
    path("", include("audit.urls"), STREAMS),
    path("api/v1/", api.urls),
    path("api/", route_unknown),
    path("api/<path:rest>", route_unknown),
]
