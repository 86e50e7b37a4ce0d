from django.urls import path

from execfabric.web import views

urlpatterns = [
    path("styleguide", views.styleguide, name="styleguide"),
]
