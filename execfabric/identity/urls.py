from allauth.account import views as allauth
from django.urls import path

from execfabric.identity import views

urlpatterns = [
    # /accounts/
    path("login/", views.sign_in, name="account_login"),
    path("demo/", views.demo_sign_in, name="account_demo"),
    path("logout/", allauth.logout, name="account_logout"),
    path("password/<str:link>", views.set_password, name="password_link"),
    path("inactive/", allauth.account_inactive, name="account_inactive"),
]
