from django.urls import path

from orchestration.plans import views

# The pages of a skill version list the plans that use it, so they are here.
urlpatterns = [
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
