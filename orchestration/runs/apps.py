from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "orchestration.runs"
    label = "runs"
    default_auto_field = "django.db.models.BigAutoField"
