from django.urls import path, re_path

from orchestration.runs.views import dry_runs, gates, new_run, runs, steps

RUN = r"^runs/(?P<pk>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
"""The start of an address that goes on with a choice of words."""

urlpatterns = [
    # /runs
    path("runs", runs.runs, name="runs"),
    # /runs/<uuid>
    path("runs/<uuid:pk>", runs.run, name="run"),
    path("runs/<uuid:pk>/live", runs.run_live, name="run_live"),
    path("runs/<uuid:pk>/inputs.json", runs.run_inputs, name="run_inputs"),
    path("runs/<uuid:pk>/plan.yaml", runs.run_plan, name="run_plan"),
    re_path(
        rf"{RUN}/(?P<ask>pause|resume|cancel)\Z", runs.run_control, name="run_control"
    ),
    # /runs/<uuid>/steps/<key>
    path("runs/<uuid:pk>/steps/<str:key>", steps.step, name="step"),
    re_path(
        rf"{RUN}/steps/(?P<key>[^/]+)/(?P<part>params|output|undo)\.json\Z",
        steps.step_value,
        name="step_value",
    ),
    path(
        "runs/<uuid:pk>/steps/<str:key>/resolve",
        steps.step_resolve,
        name="step_resolve",
    ),
    path("runs/<uuid:pk>/steps/<str:key>/log", steps.step_log, name="step_log"),
    # /gates/<uuid>
    path("gates/<uuid:pk>", gates.gate, name="gate"),
    path("gates/<uuid:pk>/decide", gates.gate_decide, name="gate_decide"),
    # /dry-runs/<uuid>
    path("dry-runs/<uuid:pk>", dry_runs.dry_run, name="dry_run"),
    path("dry-runs/<uuid:pk>/state", dry_runs.dry_run_state, name="dry_run_state"),
    # /plans
    path("plans/new", new_run.plan_new, name="plan_new"),
    path("plans/check", new_run.plan_check, name="plan_check"),
    path("plans/dry-run", new_run.plan_dry_run, name="plan_dry_run"),
    path("plans/propose", new_run.plan_propose, name="plan_propose"),
    # /artifacts/<sha256>
    re_path(r"^artifacts/(?P<sha256>[0-9a-f]{64})\Z", runs.artifact, name="artifact"),
]
