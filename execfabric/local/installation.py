"""One whole installation: servers, schema, skills, demo, web, worker, keeper."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from execfabric.local import commands, endpoints, leftovers, ports, servers
from execfabric.local.endpoints import Endpoints
from execfabric.local.errors import AlreadyUp, StartFailed, Stopped
from execfabric.local.journal import Journal, last_lines
from execfabric.local.layout import PROJECT, DataDir
from execfabric.local.servers import Database
from execfabric.local.supervisor import Supervisor

LINES_SHOWN = 25
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `up` was asked for."""

    demo: bool
    port: int | None
    """None: the first free one."""


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Who watches the start."""

    say: Say
    up: Callable[[Endpoints], None]
    """Called once everything is ready."""
    sees_journal: bool
    """Whether every line of the log is shown anyway."""


def serve(data: DataDir, wanted: Wanted, audience: Audience) -> int:
    """Run the installation until it is told to stop; return the exit code."""
    try:
        data.prepare()
        hold = leftovers.Hold(data)
    except StartFailed as error:
        audience.say(str(error))
        return 1
    except AlreadyUp:
        audience.say(already_up(data))
        return 0
    journal = Journal(data.log, shown=audience.sees_journal)
    try:
        return _serve_held(data, wanted, audience, journal)
    finally:
        journal.line("supervisor", "Everything is stopped.")
        hold.release()


def _serve_held(
    data: DataDir, wanted: Wanted, audience: Audience, journal: Journal
) -> int:
    supervisor = Supervisor(data, journal)
    _stop_on_signals(supervisor)

    def tell(text: str) -> None:
        journal.line("supervisor", text)
        if not audience.sees_journal:
            audience.say(text)

    try:
        if ended := leftovers.end_all(data):
            tell(f"Ended what an earlier start had left: {', '.join(ended)}.")
        supervisor.record()
        found = _start(data, wanted, supervisor, tell)
        endpoints.save(data.root, found)
        audience.up(found)
        supervisor.watch()
    except Stopped:
        tell("Stopped before everything was up.")
        return 1
    except StartFailed as error:
        for line in last_lines(data.log, LINES_SHOWN):
            audience.say(line)
        tell(str(error))
        return 1
    finally:
        endpoints.remove(data.root)
        supervisor.stop()
        leftovers.end_all(data)
    return 0


def already_up(data: DataDir) -> str:
    """The sentence for a second `up`."""
    found = endpoints.load(data.root)
    where = f" at {found.url}" if found else ": it is still starting"
    return f"ExecFabric is already up on {data.root}{where}."


def given(name: str) -> str:
    """A setting out of the environment, or out of the file that `NAME_FILE` names."""
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get(name, "")


def _start(
    data: DataDir, wanted: Wanted, supervisor: Supervisor, tell: Say
) -> Endpoints:
    _refuse_embedded_in_production()
    ports.for_web(wanted.port)  # a taken port is better said before all the work
    tell("Starting the servers ...")
    database = _database(data, supervisor)
    found = Endpoints(
        database_url=database.app_url,
        owner_database_url=database.owner_url,
        redis_url=given("REDIS_URL") or servers.start_valkey(data, supervisor.begin),
    )
    env = environment(data, found, demo=wanted.demo)
    as_owner = env | {"DATABASE_URL": found.owner_database_url}
    tell("Preparing the database ...")
    supervisor.complete("prepare", commands.prepare(demo=wanted.demo), as_owner)
    tell("Starting web, worker and keeper ...")
    port = _start_parts(data, wanted, supervisor, env)
    return replace(found, url=f"http://{ports.HOST}:{port}")


def _start_parts(
    data: DataDir, wanted: Wanted, supervisor: Supervisor, env: dict[str, str]
) -> int:
    """Start web, worker and keeper; return the port where web listens."""
    while True:
        port = ports.for_web(wanted.port)
        try:
            supervisor.begin_all(
                [
                    commands.web(env, port=port),
                    commands.worker(env),
                    commands.keeper(env, ready_file=data.run / "keeper-ready"),
                ]
            )
        except StartFailed:
            # Another installation that started beside this one may have been faster.
            if wanted.port is not None or ports.is_free(port):
                raise
        else:
            return port


def _database(data: DataDir, supervisor: Supervisor) -> Database:
    if url := given("DATABASE_URL"):
        owner = given("EXECFABRIC_OWNER_DATABASE_URL") or url
        return Database(app_url=url, owner_url=owner)
    return servers.start_postgres(data, supervisor.begin)


def environment(data: DataDir, found: Endpoints, *, demo: bool) -> dict[str, str]:
    """What web, worker, keeper and the commands are told."""
    files = {f"{name}_FILE" for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")}
    inherited = {name: text for name, text in os.environ.items() if name not in files}
    return inherited | {
        "DJANGO_SETTINGS_MODULE": "execfabric.settings",
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "EXECFABRIC_DATA_DIR": str(data.root),
        "EXECFABRIC_DEMO": "true" if demo else "false",
        "DATABASE_URL": found.database_url,
        "REDIS_URL": found.redis_url,
        "SECRET_KEY": given("SECRET_KEY") or data.secret_key(),
    }


def _refuse_embedded_in_production() -> None:
    production = os.environ.get("EXECFABRIC_ENV") == "production"
    missing = [name for name in ("DATABASE_URL", "REDIS_URL") if not given(name)]
    if production and missing:
        message = f"{' and '.join(missing)} must be set: the embedded servers are not"
        raise StartFailed(f"{message} for production.")


def _stop_on_signals(supervisor: Supervisor) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        supervisor.ask_to_stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
