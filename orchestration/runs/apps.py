from django.apps import AppConfig

from execfabric.infra import database


class RunsConfig(AppConfig):
    name = "orchestration.runs"
    label = "runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Limit idle transactions in every process of the product."""
        database.bound_idle_transactions()
