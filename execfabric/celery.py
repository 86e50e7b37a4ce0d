"""The Celery app. A message is only a hint with an id; Postgres decides."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "execfabric.settings")

QUEUE = "execfabric"

app = Celery("execfabric")
app.config_from_object(
    {
        "task_ignore_result": True,
        # Acknowledge early: the keeper's sweep sends lost hints again, from Postgres.
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "task_default_queue": QUEUE,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"socket_keepalive": True},
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "task_publish_retry_policy": {
            "max_retries": 1,
            "interval_start": 0.05,
            "interval_step": 0.1,
            "interval_max": 0.2,
        },
    }
)


@app.on_configure.connect
def _broker(sender: Celery, **_: object) -> None:
    from django.conf import settings  # noqa: PLC0415  Django is not set up at import

    sender.conf.update(broker_url=settings.REDIS_URL)


app.autodiscover_tasks(["orchestration.runs", "orchestration.trace"])
