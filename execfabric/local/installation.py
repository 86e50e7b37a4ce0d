"""Start a whole installation: servers, schema, skills, demo, web, worker, keeper."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from execfabric.local import commands, ports, postgres, valkey
from execfabric.local.endpoints import Endpoints
from execfabric.local.layout import PROJECT, DataDir, StartFailed, reason
from execfabric.local.service import on_free_port
from execfabric.local.supervisor import Supervisor


def start(
    data: DataDir,
    supervisor: Supervisor,
    *,
    demo: bool,
    port: int | None,
    report: Callable[[str], None],
) -> Endpoints:
    """Start everything and return its addresses; `report` gets the progress.

    Without a port, web gets the first free one.

    :raises StartFailed: if something cannot start
    """
    # Before the work, for errors that can be known now.
    _check_production(demo=demo)
    commands.default_concurrency()
    ports.for_web(port)
    report("Starting Postgres and Valkey ...")
    app_url = setting("DATABASE_URL")
    owner_url = setting("EXECFABRIC_OWNER_DATABASE_URL") or app_url
    if not app_url:
        app_url, owner_url = postgres.start(data, supervisor.begin)
    endpoints = Endpoints(
        database_url=app_url,
        owner_database_url=owner_url,
        redis_url=setting("REDIS_URL") or valkey.start(data, supervisor.begin),
    )
    env = environment(data, endpoints, demo=demo)
    report("Preparing the database ...")
    prepare_env = env | {"DATABASE_URL": owner_url}
    supervisor.complete("prepare", commands.prepare(demo=demo), prepare_env)
    report("Starting web, worker and keeper ...")
    web_port = _start_services(data, port, supervisor, env)
    return replace(endpoints, url=f"http://{ports.HOST}:{web_port}", demo=demo)


def environment(data: DataDir, endpoints: Endpoints, *, demo: bool) -> dict[str, str]:
    """Return the environment of web, worker, keeper and the commands."""
    files = {f"{name}_FILE" for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")}
    inherited = {name: text for name, text in os.environ.items() if name not in files}
    return inherited | {
        "DJANGO_SETTINGS_MODULE": "execfabric.settings",
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "EXECFABRIC_DATA_DIR": str(data.root),
        "EXECFABRIC_DEMO": "true" if demo else "false",
        "EXECFABRIC_HASHED_STATIC": "true",
        "DATABASE_URL": endpoints.database_url,
        "REDIS_URL": endpoints.redis_url,
        "SECRET_KEY": setting("SECRET_KEY") or data.secret_key(),
    }


def setting(name: str) -> str:
    """Return a setting from the environment, or from the file in `NAME_FILE`.

    :raises StartFailed: if that file cannot be read
    """
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "not UTF-8 text"
        message = f"Cannot read {name}_FILE {path!r}: {why}. Set it to a readable file."
        raise StartFailed(message) from error


def _start_services(
    data: DataDir, port: int | None, supervisor: Supervisor, env: dict[str, str]
) -> int:
    def begin_on(web_port: int) -> None:
        supervisor.begin(
            commands.web(env, port=web_port),
            commands.worker(env),
            commands.keeper(env, ready_file=data.run / "keeper-ready"),
        )

    if port is None:
        return on_free_port(begin_on, choose=ports.for_web)
    begin_on(port)
    return port


def _check_production(*, demo: bool) -> None:
    if os.environ.get("EXECFABRIC_ENV") != "production":
        return
    if demo:
        message = "Cannot start the demo in production. Start with DEMO=false."
        raise StartFailed(message)
    missing = [name for name in ("DATABASE_URL", "REDIS_URL") if not setting(name)]
    if missing:
        message = "Cannot use the embedded servers in production. Set"
        raise StartFailed(f"{message} {' and '.join(missing)}.")
