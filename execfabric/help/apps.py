from django.apps import AppConfig


class HelpConfig(AppConfig):
    name = "execfabric.help"
    label = "help"
