from django.apps import AppConfig


class TriggersConfig(AppConfig):
    name = "orchestration.triggers"
    label = "triggers"

    def ready(self) -> None:
        """Register the sweep of the schedules with the keeper."""
        from orchestration.runs.keeper import sweep  # noqa: PLC0415  needs the models
        from orchestration.triggers.services import firing  # noqa: PLC0415

        sweep.OTHER_DUTIES.append(firing.sweep)
