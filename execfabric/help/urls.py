from django.urls import path

from execfabric.help import views

urlpatterns = [
    path("help/", views.help_page, name="help"),
    path("help/images/<str:name>", views.help_image, name="help_image"),
    path("help/<slug:slug>/", views.help_page, name="help_page"),
]
