from django.urls import path

from orchestration.runs.views import dry_runs, gates, proposals

urlpatterns = [
    # /gates/<uuid>
    path("gates/<uuid:pk>", gates.gate, name="gate"),
    path("gates/<uuid:pk>/decide", gates.gate_decide, name="gate_decide"),
    path("gates/<uuid:pk>/subject.json", gates.gate_subject, name="gate_subject"),
    path("gates/<uuid:pk>/value", gates.gate_value, name="gate_value"),
    path("gates/<uuid:pk>/steps/<int:place>", gates.gate_step, name="gate_step"),
    # /dry-runs/<uuid>
    path("dry-runs/<uuid:pk>", dry_runs.dry_run, name="dry_run"),
    path("dry-runs/<uuid:pk>/state", dry_runs.dry_run_state, name="dry_run_state"),
    # /plans
    path("plans/dry-run", dry_runs.plan_dry_run, name="plan_dry_run"),
    path("plans/propose", proposals.plan_propose, name="plan_propose"),
]
