from django.urls import path, re_path

from orchestration.runs.views import runs, steps, verification

urlpatterns = [
    # /runs
    path("runs", runs.runs, name="runs"),
    # /runs/<uuid>
    path("runs/<uuid:pk>", runs.run, name="run"),
    path("runs/<uuid:pk>/live", runs.run_live, name="run_live"),
    path("runs/<uuid:pk>/verified", runs.run_verified, name="run_verified"),
    path("runs/<uuid:pk>/inputs.json", runs.run_inputs, name="run_inputs"),
    path("runs/<uuid:pk>/plan.yaml", runs.run_plan, name="run_plan"),
    re_path(
        r"^runs/(?P<pk>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/(?P<ask>pause|resume|cancel)\Z",
        runs.run_control,
        name="run_control",
    ),
    # /runs/<uuid>/steps/<key>
    path("runs/<uuid:pk>/steps/<str:key>", steps.step, name="step"),
    re_path(
        r"^runs/(?P<pk>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
        r"/steps/(?P<key>[^/]+)/(?P<part>params|output|undo)\.json\Z",
        steps.step_value,
        name="step_value",
    ),
    path(
        "runs/<uuid:pk>/steps/<str:key>/resolve",
        steps.step_resolve,
        name="step_resolve",
    ),
    path("runs/<uuid:pk>/steps/<str:key>/log", steps.step_log, name="step_log"),
    # /trace/verify
    path("trace/verify", verification.trace_verify, name="trace_verify"),
    path(
        "trace/verify/<uuid:pk>",
        verification.trace_verification,
        name="trace_verification",
    ),
    # /artifacts/<sha256>
    re_path(r"^artifacts/(?P<sha256>[0-9a-f]{64})\Z", runs.artifact, name="artifact"),
]
