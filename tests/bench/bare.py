"""The yardstick: a bare Celery canvas with one committed row per step.

`celery -A tests.bench.bare worker` with the product's own worker options. A step is
a task that commits one row over a connection its process keeps open; the canvas
passes on to the next task through the broker. Nothing is approved or recorded.
"""

import os
from functools import cache
from typing import Any

import psycopg
from celery import Celery, chain

QUEUE = "bare"
TABLE = """
CREATE TABLE bare_step (
    round int, chain int, step int, at timestamptz DEFAULT clock_timestamp()
)
"""

app = Celery("bare")
app.config_from_object(
    {
        "broker_url": os.environ.get("REDIS_URL", ""),
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_prefetch_multiplier": 1,
        "task_default_queue": QUEUE,
        "broker_connection_retry_on_startup": True,
        "worker_hijack_root_logger": False,
    }
)


@cache
def connection() -> psycopg.Connection[Any]:
    """Return this process's connection, opened in the pool's child after the fork."""
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


@app.task(name="bare.step")
def step(of_round: int, number: int, place: int) -> None:
    """Commit one row."""
    connection().execute(
        "INSERT INTO bare_step (round, chain, step) VALUES (%s, %s, %s)",
        [of_round, number, place],
    )


def submit(of_round: int, number: int, length: int) -> None:
    """Send one chain of `length` steps."""
    steps = (step.si(of_round, number, place) for place in range(length))
    chain(*steps).apply_async()
