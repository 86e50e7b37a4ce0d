from django.urls import path

from orchestration.plans import views, views_releases

urlpatterns = [
    # /plans; proposing and dry runs are views of runs
    path("plans/new", views.plan_new, name="plan_new"),
    path("plans/check", views.plan_check, name="plan_check"),
    # /skills/<slug>/versions/<uuid>
    path(
        "skills/<slug:slug>/versions/<uuid:pk>",
        views_releases.skill_version,
        name="skill_version",
    ),
    path(
        "skills/<slug:slug>/versions/<uuid:pk>/publish",
        views_releases.skill_publish,
        name="skill_publish",
    ),
]
