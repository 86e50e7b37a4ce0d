"""The trace. The project passes `reads` (who else reads a stream) and `verify`."""

from django.urls import path

from audit import views

urlpatterns = [
    # /trace
    path("trace", views.trace, name="trace"),
    path("trace/<str:stream>/<int:seq>", views.trace_event, name="trace_event"),
]
