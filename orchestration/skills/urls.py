from django.urls import path

from orchestration.skills import views

urlpatterns = [
    # /skills
    path("skills", views.skills, name="skills"),
    path("skills/<slug:slug>", views.skill, name="skill"),
    path("skills/<slug:slug>/edit", views.skill_edit, name="skill_edit"),
    path("skills/<slug:slug>/state", views.skill_state, name="skill_state"),
    # /skills/<slug>/versions/<uuid>
    path(
        "skills/<slug:slug>/versions/<uuid:pk>",
        views.skill_version,
        name="skill_version",
    ),
    path(
        "skills/<slug:slug>/versions/<uuid:pk>/publish",
        views.skill_publish,
        name="skill_publish",
    ),
]
