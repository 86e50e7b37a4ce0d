"""One whole installation: servers, schema, skills, demo, web, worker, keeper."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from execfabric.local import commands, endpoints, leftovers, ports, servers, turn
from execfabric.local.endpoints import Endpoints
from execfabric.local.errors import PartFailed, PortTaken, StartFailed, Stopped
from execfabric.local.journal import Journal, last_lines
from execfabric.local.layout import PROJECT, DataDir
from execfabric.local.leftovers import Stage
from execfabric.local.servers import Database
from execfabric.local.supervisor import Supervisor

LINES_SHOWN = 25
TRIES = 10
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
    already: Callable[[Endpoints], int]
    """Called instead where it is up already; returns the exit code."""
    sees_journal: bool
    """Whether every line of the log is shown anyway."""


def serve(data: DataDir, wanted: Wanted, audience: Audience) -> int:
    """Run the installation until it is told to stop; return the exit code."""
    try:
        data.prepare()
        hold = turn.take(data, audience.say)
    except StartFailed as error:
        audience.say(str(error))
        return 1
    if isinstance(hold, Endpoints):
        return audience.already(hold)
    journal = Journal(data.log, shown=audience.sees_journal)
    try:
        return _serve_held(data, wanted, audience, journal)
    finally:
        journal.line("supervisor", "Everything is stopped.")
        journal.close()
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
        supervisor.enter(Stage.STARTING)
        found = _start(data, wanted, supervisor, tell)
        endpoints.save(data.root, found)
        supervisor.enter(Stage.UP)
        audience.up(found)
        supervisor.watch()
    except Stopped:
        tell("Stopped before everything was up.")
        return 1
    except StartFailed as error:
        if isinstance(error, PartFailed):
            for line in last_lines(data.log, LINES_SHOWN):
                audience.say(line)
        tell(str(error))
        return 1
    finally:
        endpoints.remove(data.root)
        supervisor.stop()
        leftovers.end_all(data)
    return 0


def given(name: str) -> str:
    """A setting out of the environment, or out of the file that `NAME_FILE` names.

    :raises StartFailed: when that file cannot be read
    """
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise StartFailed(f"The file of {name}_FILE cannot be read: {error}") from error


def _start(
    data: DataDir, wanted: Wanted, supervisor: Supervisor, tell: Say
) -> Endpoints:
    # What cannot go well is better said before all the work.
    _refuse_what_production_must_not_be(demo=wanted.demo)
    commands.default_concurrency()
    ports.for_web(wanted.port)
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
    return replace(found, url=f"http://{ports.HOST}:{port}", demo=wanted.demo)


def _start_parts(
    data: DataDir, wanted: Wanted, supervisor: Supervisor, env: dict[str, str]
) -> int:
    """Start web, worker and keeper; return the port where web listens.

    :raises PortTaken: when somebody was faster on the port asked for, or again and again
    """
    for _ in range(TRIES):
        port = ports.for_web(wanted.port)
        try:
            supervisor.begin_all(
                [
                    commands.web(env, port=port),
                    commands.worker(env),
                    commands.keeper(env, ready_file=data.run / "keeper-ready"),
                ]
            )
        except PortTaken:
            # Only the server's own attempt tells: by now the port may be free again.
            if wanted.port is not None:
                raise
        else:
            return port
    raise PortTaken(f"Somebody was faster on {TRIES} ports: choose one with PORT.")


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


def _refuse_what_production_must_not_be(*, demo: bool) -> None:
    if os.environ.get("EXECFABRIC_ENV") != "production":
        return
    if demo:
        raise StartFailed("The demo is not for production: start with DEMO=false.")
    missing = [name for name in ("DATABASE_URL", "REDIS_URL") if not given(name)]
    if missing:
        message = f"{' and '.join(missing)} must be set: the embedded servers are not"
        raise StartFailed(f"{message} for production.")


def _stop_on_signals(supervisor: Supervisor) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        supervisor.ask_to_stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
