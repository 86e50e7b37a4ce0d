"""Rows into a real Postgres table and out again."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orchestration.skills.domain.outcome import Failed, Retry, Succeeded
from tests import targets
from tests.skill_calls import Bench, as_file

SALES = 'id,name,amount,day\n1,"Ä, b",1.5,2024-01-02\n2,,2.25,\n3,"say ""x""",3,2024-03-04\n'


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with targets.warehouse() as made:
        yield made


@pytest.fixture
def schema(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS shop CASCADE")
        connection.execute("CREATE SCHEMA shop")
    return "shop"


@pytest.fixture
def bench(tmp_path: Path, dsn: str, schema: str) -> Bench:
    return Bench(tmp_path / "calls", {"databases": {"warehouse": dsn}})


@pytest.fixture
def sales(tmp_path: Path):
    return as_file(tmp_path / "sales.csv", SALES)


def rows(dsn: str, query: str) -> list:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize(
    ("when", "returned"),
    [
        pytest.param("INSERT", "NULL", id="drops a row"),
        pytest.param("DELETE", "NULL", id="keeps a row"),
    ],
)
def test_a_table_that_takes_other_rows_than_approved_stays_as_it_was(
    bench, dsn, sales, when, returned
):
    made = bench.good("data.load", {"file": sales, "table": "shop.sales"})
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE FUNCTION shop.meddle() RETURNS trigger LANGUAGE plpgsql"
            f" AS 'BEGIN RETURN {returned}; END'"
        )
        connection.execute(
            f"CREATE TRIGGER meddle BEFORE {when} ON shop.sales FOR EACH ROW"
            " WHEN (" + ("NEW" if when == "INSERT" else "OLD") + ".id = 2)"
            " EXECUTE FUNCTION shop.meddle()"
        )

    undo = {key: made.output[key] for key in ("load_id", "table", "database")}
    again = {"file": sales, "table": "shop.sales"}
    outcome = (
        bench.run("data.load", again)
        if when == "INSERT"
        else bench.run("data.unload", undo)
    )

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.before_effect) == ("data.effect_differs", True)
    assert rows(dsn, "SELECT count(*) FROM shop.sales") == [(3,)]


@pytest.mark.parametrize(
    "change",
    [{"port": 1}, {"host": "nosuch.invalid"}, {"password": "wrong"}],
    ids=lambda change: next(iter(change)),
)
def test_a_database_that_cannot_be_reached_is_not_placed(bench, dsn, sales, change):
    known = psycopg.conninfo.conninfo_to_dict(dsn) | change
    bench.config["databases"]["warehouse"] = psycopg.conninfo.make_conninfo(**known)

    outcome = bench.run("data.load", {"file": sales, "table": "shop.sales"})

    assert isinstance(outcome, Retry)
    assert outcome.code == "data.unreachable"
    assert "Errno" not in outcome.message
    assert str(known["port"]) not in outcome.message


def test_a_load_makes_the_table_and_its_undo_empties_it(bench, dsn, sales):
    made = bench.good("data.load", {"file": sales, "table": "shop.sales"})

    assert made.output["rows"] == 3
    found = rows(
        dsn, "SELECT id, name, amount::float, day::text FROM shop.sales ORDER BY id"
    )
    assert found == [
        (1, "Ä, b", 1.5, "2024-01-02"),
        (2, None, 2.25, None),
        (3, 'say "x"', 3.0, "2024-03-04"),
    ]
    undo = {key: made.output[key] for key in ("load_id", "table", "database")}
    assert bench.good("data.unload", undo).output["removed"] == 3
    assert bench.good("data.unload", undo).output["removed"] == 0
    assert rows(dsn, "SELECT count(*) FROM shop.sales") == [(0,)]


def test_loading_twice_for_one_step_run_is_loading_once(bench, dsn, sales):
    params = {"file": sales, "table": "shop.sales"}

    first = bench.good("data.load", params, key="a")
    again = bench.good("data.load", params, key="a")

    assert again == first
    assert rows(dsn, "SELECT count(*) FROM shop.sales") == [(3,)]


def test_many_tries_at_once_load_once(bench, dsn, sales, tmp_path):
    outcomes = []

    def load(number: int) -> None:
        own = Bench(tmp_path / f"own-{number}", bench.config)
        outcomes.append(
            own.run("data.load", {"file": sales, "table": "shop.sales"}, key="a")
        )

    threads = [threading.Thread(target=load, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(isinstance(outcome, Succeeded) for outcome in outcomes), outcomes
    assert rows(dsn, "SELECT count(*) FROM shop.sales") == [(3,)]
    assert rows(dsn, "SELECT count(*) FROM shop.execfabric_loads") == [(1,)]


def test_an_undo_takes_out_its_own_load_only(bench, dsn, sales):
    params = {"file": sales, "table": "shop.sales"}
    first = bench.good("data.load", params)
    bench.good("data.load", params)

    bench.good(
        "data.unload", {"load_id": first.output["load_id"], "table": "shop.sales"}
    )

    assert rows(dsn, "SELECT count(*) FROM shop.sales") == [(3,)]
    assert bench.code("data.load", params, key="key-1") == "data.load_undone"


def test_the_same_key_with_other_rows_is_refused(bench, sales, tmp_path):
    bench.good("data.load", {"file": sales, "table": "shop.sales"}, key="a")
    other = as_file(tmp_path / "other.csv", "id\n9\n")

    code = bench.code("data.load", {"file": other, "table": "shop.sales"}, key="a")

    assert code == "data.key_reused"


def test_a_row_that_does_not_fit_leaves_nothing_behind(bench, dsn, sales):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE shop.sales (id int PRIMARY KEY, name text NOT NULL,"
            " amount numeric, day date, _load_id text)"
        )

    assert (
        bench.code("data.load", {"file": sales, "table": "shop.sales"})
        == "data.refused"
    )
    assert rows(dsn, "SELECT count(*) FROM shop.sales") == [(0,)]
    assert rows(dsn, "SELECT to_regclass('shop.execfabric_loads')") == [(None,)]


@pytest.mark.parametrize(
    ("made", "params", "code"),
    [
        ("", {"create": False}, "data.no_table"),
        (
            "CREATE TABLE shop.sales (id int, name text, amount numeric, day date)",
            {},
            "data.columns",
        ),
        ("CREATE TABLE shop.sales (id int, _load_id text)", {}, "data.columns"),
        ("", {"database": "other"}, "data.no_database"),
    ],
    ids=["no table", "no load column", "missing columns", "unknown database"],
)
def test_a_target_that_does_not_fit_is_named(bench, dsn, sales, made, params, code):
    if made:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(made)

    assert (
        bench.code("data.load", {"file": sales, "table": "shop.sales", **params})
        == code
    )


def test_names_are_names_and_never_sql(bench, dsn, tmp_path):
    file = as_file(tmp_path / "odd.csv", '"a"");DROP TABLE x;--","select"\n1,2\n')

    bench.good("data.load", {"file": file, "table": "shop.Order"})

    assert rows(dsn, 'SELECT "select" FROM shop."Order"') == [(2,)]


def test_an_unknown_load_cannot_be_undone(bench, sales):
    assert (
        bench.code("data.unload", {"load_id": "x", "table": "shop.sales"})
        == "data.unknown_load"
    )
    bench.good("data.load", {"file": sales, "table": "shop.sales"})
    assert (
        bench.code("data.unload", {"load_id": "x", "table": "shop.sales"})
        == "data.unknown_load"
    )


def test_a_database_that_does_not_answer_is_tried_later(bench, sales):
    bench.config = {"databases": {"warehouse": "postgresql://127.0.0.1:1/x"}}

    outcome = bench.run("data.load", {"file": sales, "table": "shop.sales"})

    assert isinstance(outcome, Retry)
    assert outcome.code == "data.unreachable"
    assert bench.check("data.load", {"file": sales, "table": "shop.sales"}) == [
        "data.unreachable"
    ]


def test_the_check_asks_the_database_and_the_dry_run_does_not(bench, dsn, sales):
    params = {"file": sales, "table": "shop.sales"}

    assert bench.check("data.load", params) == []
    assert bench.check("data.load", {**params, "create": False}) == ["data.no_table"]
    preview = bench.dry_run("data.load", params)
    assert preview.changes == ("adds 3 rows to shop.sales (id, name, amount, day)",)
    assert rows(dsn, "SELECT to_regclass('shop.sales')") == [(None,)]
