from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "execfabric.console"
    label = "console"
