"""The trace. Whoever includes this may pass `reads`: who else reads which stream."""

from django.urls import path

from audit import views

urlpatterns = [
    # /trace
    path("trace", views.trace, name="trace"),
    path("trace/verify", views.trace_verify, name="trace_verify"),
    path("trace/<str:stream>/<int:seq>", views.trace_event, name="trace_event"),
]
