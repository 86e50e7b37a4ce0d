from django.apps import AppConfig


class VerificationConfig(AppConfig):
    name = "orchestration.verification"
    label = "verification"

    def ready(self) -> None:
        """Have the keeper look after the jobs."""
        from orchestration.runs.services import sweep  # noqa: PLC0415  needs the models
        from orchestration.verification.services import jobs  # noqa: PLC0415

        sweep.ALSO.append(jobs.sweep)
