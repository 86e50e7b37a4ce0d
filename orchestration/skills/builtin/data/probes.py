"""Find out if rows were loaded by a step: the ledger of the table has its load."""

import psycopg

from orchestration.skills.builtin.common import digest_of_key

# Private there: with other names, the code of runs that are approved would have changed.
from orchestration.skills.builtin.data.handlers import _database as database_of
from orchestration.skills.builtin.data.handlers import _table as table_of
from orchestration.skills.builtin.data.loading import (
    LEDGER,
    SECONDS,
    Load,
    LoadTarget,
)
from orchestration.skills.domain.handlers import probe
from orchestration.skills.domain.outcome import (
    Call,
    CannotTell,
    DidHappen,
    DidNotHappen,
    ProbeResult,
)


@probe("data.load-probe@1")
def loaded(call: Call) -> ProbeResult:
    """Look for the load in the ledger, which is written in the transaction of the rows."""
    name, dsn = database_of(call)
    wanted = Load(
        digest_of_key(call)[:32], table_of(call), call.params["file"].sha256, 0
    )
    try:
        has_ledger, known = _recorded(dsn, wanted)
    except psycopg.Error as error:
        return CannotTell(f"The database gave no answer ({type(error).__name__}).")
    if not has_ledger:
        # The first load makes it, in a transaction that may still commit.
        return CannotTell("The schema has no ledger of loads.")
    if known is None:
        return DidNotHappen(f"The ledger has no load {wanted.load_id}.")
    if known.undone or known.table_name != wanted.table_name:
        return CannotTell(f"Load {known.load_id} was undone, or is of another table.")
    output = {"load_id": known.load_id, "table": known.table_name, "rows": known.rows}
    evidence = f"The ledger has load {known.load_id} with {known.rows} rows."
    return DidHappen(evidence, {**output, "database": name})


def _recorded(dsn: str, wanted: Load) -> tuple[bool, Load | None]:
    """Return if there is a ledger, and the load in it, also one about to be committed.

    It is inserted and rolled back, which waits for such a transaction.

    :raises psycopg.Error: when the database does not answer, or that takes too long
    """
    with psycopg.connect(dsn, connect_timeout=SECONDS) as connection:
        target = LoadTarget(connection, wanted.table_name)
        if not target.columns(LEDGER):
            return False, None
        connection.execute(f"SET LOCAL lock_timeout = '{SECONDS}s'")
        known = target.record(wanted)
        connection.rollback()
        return True, known
