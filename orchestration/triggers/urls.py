from django.urls import path, re_path

from orchestration.triggers.views import deliveries, hooks, schedules

HOOK = r"^webhooks/(?P<pk>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
SCHEDULE = r"^schedules/(?P<pk>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"

urlpatterns = [
    # /schedules
    path("schedules", schedules.schedules, name="schedules"),
    path("schedules/new", schedules.schedule_new, name="schedule_new"),
    path("schedules/next", schedules.schedule_next, name="schedule_next"),
    # /schedules/<uuid>
    path("schedules/<uuid:pk>", schedules.schedule, name="schedule"),
    path("schedules/<uuid:pk>/edit", schedules.schedule_edit, name="schedule_edit"),
    re_path(
        rf"{SCHEDULE}/(?P<act>pause|resume|delete)\Z",
        schedules.schedule_act,
        name="schedule_act",
    ),
    # /webhooks
    path("webhooks", hooks.hooks, name="hooks"),
    path("webhooks/new", hooks.hook_new, name="hook_new"),
    path("webhooks/<uuid:pk>", hooks.hook, name="hook"),
    path("webhooks/<uuid:pk>/edit", hooks.hook_edit, name="hook_edit"),
    path("webhooks/<uuid:pk>/rotate", hooks.hook_rotate, name="hook_rotate"),
    re_path(rf"{HOOK}/(?P<act>pause|resume|delete)\Z", hooks.hook_act, name="hook_act"),
    # /hooks/<uuid>, for other systems
    path("hooks/<uuid:pk>", deliveries.deliver, name="hook_deliver"),
]
