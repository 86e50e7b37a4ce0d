from django.urls import path

from approvals.views import gates, inbox

urlpatterns = [
    path("inbox", inbox.inbox, name="inbox"),
    # /gates/<uuid>
    path("gates/<uuid:pk>/subject.json", gates.gate_subject, name="gate_subject"),
    path("gates/<uuid:pk>/value", gates.gate_value, name="gate_value"),
    path("gates/<uuid:pk>/steps/<int:place>", gates.gate_step, name="gate_step"),
]
