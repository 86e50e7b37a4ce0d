from django.urls import path, re_path

from orchestration.trace import views

urlpatterns = [
    # /trace
    path("trace", views.trace, name="trace"),
    re_path(
        r"^trace/export\.(?P<suffix>csv|json)$", views.trace_export, name="trace_export"
    ),
    path("trace/<str:stream>/<int:seq>", views.trace_event, name="trace_event"),
    # /trace/verify
    path("trace/verify", views.trace_verify, name="trace_verify"),
    path(
        "trace/verify/<uuid:pk>",
        views.trace_verification,
        name="trace_verification",
    ),
    # /runs/<uuid>
    path("runs/<uuid:pk>/verified", views.run_verified, name="run_verified"),
]
