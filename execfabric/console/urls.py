from django.urls import path

from execfabric.console import views

urlpatterns = [
    path("", views.home, name="home"),
    path("styleguide", views.styleguide, name="styleguide"),
]
