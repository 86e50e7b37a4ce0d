from django.apps import AppConfig


class TraceConfig(AppConfig):
    name = "orchestration.trace"
    label = "verification"

    def ready(self) -> None:
        """Register the sweep of the verification jobs with the keeper."""
        from orchestration.runs.keeper import sweep  # noqa: PLC0415  needs the models
        from orchestration.trace.services import jobs  # noqa: PLC0415

        sweep.OTHER_DUTIES.append(jobs.sweep)
