from django.urls import path

from execfabric.home import views

urlpatterns = [
    path("", views.home, name="home"),
]
