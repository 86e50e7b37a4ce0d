from django.apps import AppConfig


class HomeConfig(AppConfig):
    name = "execfabric.home"
    label = "home"
