"""The servers of the tests lose nothing that they said was stored."""

import psycopg

from tests.servers import start_servers

ROWS = 50


def test_a_crash_of_postgres_keeps_what_was_committed(tmp_path):
    servers = start_servers(tmp_path)
    url = servers.endpoints.owner_database_url
    try:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("CREATE TABLE kept (number int)")
            for number in range(ROWS):
                owner.execute("INSERT INTO kept VALUES (%s)", [number])
            servers.restart_postgres()
        with psycopg.connect(url, autocommit=True) as owner:
            found = owner.execute("SELECT count(*) FROM kept").fetchone()
    finally:
        servers.stop()

    assert found == (ROWS,)
