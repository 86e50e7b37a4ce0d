from django.urls import path, re_path

from orchestration.runs.views import (
    artifacts,
    attention,
    dry_runs,
    events,
    files,
    gates,
    new_run,
    reruns,
    rollback,
    runs,
    saved_plans,
    step_acts,
    steps,
    stops,
)

RUN = r"^runs/(?P<pk>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
"""The start of a URL pattern that ends with one of several words."""
FILE = r"^artifacts/(?P<sha256>[0-9a-f]{64})"

urlpatterns = [
    # /runs
    path("runs", runs.runs, name="runs"),
    # /runs/<uuid>
    path("runs/<uuid:pk>", runs.run, name="run"),
    path("runs/<uuid:pk>/live", runs.run_live, name="run_live"),
    path("runs/<uuid:pk>/inputs.json", runs.run_inputs, name="run_inputs"),
    path("runs/<uuid:pk>/output.json", runs.run_output, name="run_output"),
    path("runs/<uuid:pk>/changes", runs.run_changes, name="run_changes"),
    path("runs/<uuid:pk>/plan.yaml", runs.run_plan, name="run_plan"),
    path("runs/<uuid:pk>/rerun", reruns.run_rerun, name="run_rerun"),
    path("runs/<uuid:pk>/compare/<uuid:other>", reruns.run_compare, name="run_compare"),
    re_path(
        rf"{RUN}/(?P<ask>pause|resume|cancel|abort)\Z",
        runs.run_control,
        name="run_control",
    ),
    path("runs/<uuid:pk>/rollback", rollback.run_rollback, name="run_rollback"),
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
    re_path(
        rf"{RUN}/steps/(?P<key>[^/]+)/(?P<verb>retry|edit|skip|complete|fallback)\Z",
        step_acts.step_act,
        name="step_act",
    ),
    path("runs/<uuid:pk>/steps/<str:key>/log", steps.step_log, name="step_log"),
    path("runs/<uuid:pk>/steps/<str:key>/lines", steps.step_lines, name="step_lines"),
    # /gates/<uuid>
    path("gates/<uuid:pk>", gates.gate, name="gate"),
    path("gates/<uuid:pk>/decide", gates.gate_decide, name="gate_decide"),
    path("gates/<uuid:pk>/answer", gates.gate_answer, name="gate_answer"),
    # /dry-runs/<uuid>
    path("dry-runs/<uuid:pk>", dry_runs.dry_run, name="dry_run"),
    path("dry-runs/<uuid:pk>/state", dry_runs.dry_run_state, name="dry_run_state"),
    # /plans
    path("plans/new", new_run.plan_new, name="plan_new"),
    path("plans/preview", new_run.plan_preview, name="plan_preview"),
    path("plans/check", new_run.plan_check, name="plan_check"),
    path("plans/dry-run", new_run.plan_dry_run, name="plan_dry_run"),
    path("plans/propose", new_run.plan_propose, name="plan_propose"),
    path("plans/save", new_run.plan_save, name="plan_save"),
    path("plans", saved_plans.plans, name="plans"),
    # /plans/<id>, after the words above
    path("plans/<slug:slug>", saved_plans.plan, name="plan"),
    path("plans/<slug:slug>/start", saved_plans.plan_start, name="plan_start"),
    path(
        "plans/<slug:slug>/start/preview",
        saved_plans.plan_start_preview,
        name="plan_start_preview",
    ),
    path("plans/<slug:slug>/rights", saved_plans.plan_rights, name="plan_rights"),
    path(
        "plans/<slug:slug>/revisions/<int:number>.yaml",
        saved_plans.plan_source,
        name="plan_source",
    ),
    path(
        "plans/<slug:slug>/diff/<int:before>/<int:after>",
        saved_plans.plan_diff,
        name="plan_diff",
    ),
    # /stops
    path("stops", stops.stops, name="stops"),
    path("stops/set", stops.stop_set, name="stop_set"),
    path("stops/<uuid:pk>/lift", stops.stop_lift, name="stop_lift"),
    # /attention
    path("attention", attention.attention_queue, name="attention"),
    path("attention/failures", attention.failures, name="failures"),
    path(
        "attention/failures/<int:number>/re-emit",
        attention.failure_re_emit,
        name="failure_re_emit",
    ),
    path("attention/count", attention.attention_count, name="attention_count"),
    re_path(
        r"^attention/(?P<claim>take|release)\Z",
        attention.attention_act,
        name="attention_act",
    ),
    # /events
    path("events", events.events, name="events"),
    path("events/<uuid:pk>", events.event, name="event"),
    path("events/<uuid:pk>/payload.json", events.event_payload, name="event_payload"),
    # /artifacts
    path("artifacts", artifacts.named_artifacts, name="artifacts"),
    # /artifacts/<uuid>
    path("artifacts/<uuid:pk>", artifacts.named_artifact, name="named_artifact"),
    path(
        "artifacts/<uuid:pk>/archive",
        artifacts.artifact_archive,
        name="artifact_archive",
    ),
    path("artifacts/<uuid:pk>/fork", artifacts.artifact_fork, name="artifact_fork"),
    # /artifacts/<sha256>
    re_path(rf"{FILE}\Z", files.artifact, name="artifact"),
    re_path(rf"{FILE}/download\Z", files.artifact_download, name="artifact_download"),
    re_path(rf"{FILE}/view\Z", files.artifact_view, name="artifact_view"),
]
