from django.urls import path

from orchestration.skills import views

urlpatterns = [
    # /skills
    path("skills", views.skills, name="skills"),
    path("skills/<slug:slug>", views.skill, name="skill"),
    path("skills/<slug:slug>/edit", views.skill_edit, name="skill_edit"),
    path("skills/<slug:slug>/state", views.skill_state, name="skill_state"),
    # A version and its publication are views of plans: they name the plans that use it.
]
