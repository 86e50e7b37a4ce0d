from django.urls import path

from orchestration.verification import views

urlpatterns = [
    # /runs/<uuid>
    path("runs/<uuid:pk>/verified", views.run_verified, name="run_verified"),
    # /trace/verify
    path("trace/verify", views.trace_verify, name="trace_verify"),
    path("trace/verify/<uuid:pk>", views.trace_verification, name="trace_verification"),
]
