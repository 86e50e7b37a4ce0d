from django.urls import path

from orchestration.plans import editor, views

# The pages of a skill version list the plans that use it, so they are here.
urlpatterns = [
    path("plans/problems", editor.plan_problems, name="plan_problems"),
    path("plans/new/form", editor.plan_form, name="plan_form"),
    path("plans/vocabulary", editor.plan_vocabulary, name="plan_vocabulary"),
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
