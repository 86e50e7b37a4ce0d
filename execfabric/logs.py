"""Log lines with the ids of request, run and step: JSON in production, else text."""

from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter

CONTEXT = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
JSON = [
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(ensure_ascii=False),
]
TEXT = [
    structlog.dev.ConsoleRenderer(
        colors=False,
        pad_event_to=0,
        # The default one prints local variables, secrets included.
        exception_formatter=structlog.dev.plain_traceback,
    )
]


def config(*, level: str, as_json: bool) -> dict[str, Any]:
    renderers = JSON if as_json else TEXT
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": ProcessorFormatter,
                "foreign_pre_chain": CONTEXT,
                "processors": [ProcessorFormatter.remove_processors_meta, *renderers],
            }
        },
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "structured"}
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # It logs each use of a connection.
            "psycopg.pool": {"level": "WARNING"},
            # Uvicorn configures these before it imports the settings.
            "uvicorn": {"handlers": ["console"], "propagate": False},
            "uvicorn.access": {"handlers": ["console"], "propagate": False},
        },
    }
