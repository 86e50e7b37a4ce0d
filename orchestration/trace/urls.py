from django.urls import path, re_path

from orchestration.trace.views import log, verification

urlpatterns = [
    # /trace
    path("trace", log.trace, name="trace"),
    re_path(
        r"^trace/export\.(?P<suffix>csv|json)$", log.trace_export, name="trace_export"
    ),
    path("trace/<str:stream>/<int:seq>", log.trace_event, name="trace_event"),
    # /trace/verify
    path("trace/verify", verification.trace_verify, name="trace_verify"),
    path(
        "trace/verify/<uuid:pk>",
        verification.trace_verification,
        name="trace_verification",
    ),
    # /runs/<uuid>
    path("runs/<uuid:pk>/verified", verification.run_verified, name="run_verified"),
]
