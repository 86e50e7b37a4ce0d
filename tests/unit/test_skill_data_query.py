"""SQL over files, and reports made of the result."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.skills.domain.outcome import Failed
from tests.skill_calls import Bench, as_file

SALES = "region,amount,day\nnorth,10,2024-01-02\nsouth,-3,\nnorth,5,2024-02-03\n"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "calls")


@pytest.fixture
def sales(tmp_path: Path):
    return as_file(tmp_path / "sales.csv", SALES)


def test_a_query_over_csv_gives_rows_columns_and_a_file(bench, sales):
    sql = "SELECT region, sum(amount) AS total FROM sales WHERE amount > 0 GROUP BY 1 -- all"

    outcome = bench.good("data.query", {"sources": {"sales": sales}, "sql": sql})

    assert outcome.output["rows"] == 1
    assert [column["name"] for column in outcome.output["columns"]] == [
        "region",
        "total",
    ]
    assert outcome.files["result"].read_text() == "region,total\nnorth,15\n"


def test_formats_are_read_and_written_and_joined(bench, sales, tmp_path):
    names = as_file(
        tmp_path / "n.json", json.dumps([{"region": "north", "name": "Nord"}])
    )
    made = bench.good(
        "data.query",
        {"sources": {"s": sales}, "sql": "SELECT * FROM s", "format": "parquet"},
    )
    parquet = as_file(made.files["result"])
    sql = "SELECT name, count(*) AS n FROM s JOIN names USING (region) GROUP BY name"

    outcome = bench.good(
        "data.query",
        {"sources": {"s": parquet, "names": names}, "sql": sql, "format": "json"},
    )

    assert json.loads(outcome.files["result"].read_text()) == [{"name": "Nord", "n": 2}]


def test_text_is_read_as_it_is_written(bench, tmp_path):
    written = 'id;x,version,note\n007,1.10,a;b\n#8,true,2024-01-02\n9,,""\n'
    source = as_file(tmp_path / "s.csv", written)
    tabs = as_file(tmp_path / "t.tsv", written.replace(",", "\t"))
    sql = "SELECT * FROM s WHERE version IS NOT NULL AND note IS NOT NULL"
    for file in (source, tabs):
        params = {"sources": {"s": file}, "sql": sql, "text": True}
        outcome = bench.good("data.query", params)
        result = outcome.files["result"].read_text()
        assert list(csv.reader(result.split())) == list(csv.reader(written.split()))
        assert {column["type"] for column in outcome.output["columns"]} == {"VARCHAR"}
        assert "version VARCHAR" in bench.dry_run("data.query", params).summary


def test_several_files_are_one_source(bench, sales, tmp_path):
    more = as_file(tmp_path / "more.csv", "amount,region\n7,west\n")

    outcome = bench.good(
        "data.query",
        {"sources": {"s": [sales, more]}, "sql": "SELECT sum(amount) AS n FROM s"},
    )

    assert outcome.files["result"].read_text() == "n\n19\n"


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "data.not_allowed"),
        ("SELECT * FROM read_text('/etc/hostname')", "data.not_allowed"),
        ("SELECT * FROM '/etc/passwd'", "data.not_allowed"),
        ("SELECT * FROM glob('/etc/*')", "data.not_allowed"),
        ("SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')", "data.not_allowed"),
        ("SELECT * FROM bench", "data.not_allowed"),
        ("SELECT getenv('PATH')", "data.not_allowed"),
        ("SELECT * FROM s; SELECT 1", "data.not_a_query"),
        ("COPY s TO '/tmp/never.csv'", "data.not_a_query"),
        ("SELECT 1) TO '/tmp/never.csv'; --", "data.sql"),
        ("SET enable_external_access = true", "data.not_a_query"),
        ("ATTACH '/tmp/never.db'", "data.not_a_query"),
        ("INSTALL httpfs", "data.not_a_query"),
        ("DROP VIEW s", "data.not_a_query"),
        ("", "data.not_a_query"),
        ("SELECT nothing FROM s", "data.sql"),
        ("SELECT", "data.sql"),
    ],
)
def test_sql_reaches_nothing_but_its_sources(bench, sales, sql, code):
    registered_params = {"sources": {"s": sales}, "sql": sql or " "}

    outcome = bench.run("data.query", registered_params)

    assert isinstance(outcome, Failed)
    assert outcome.code == code
    assert not Path("/tmp/never.csv").exists()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT current_setting('allowed_paths')",
        "SELECT system.main.current_setting('temp_directory')",
        "SELECT list_transform(['allowed_paths'], x -> current_setting(x))",
        "SELECT (SELECT current_setting('allowed_paths')) FROM s",
        "SELECT * FROM s WHERE amount IN (SELECT 1 WHERE current_query() <> '')",
        "SELECT * FROM s ORDER BY current_setting('allowed_paths')",
        "SELECT current_query()",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_views()",
        "SELECT * FROM pg_catalog.pg_settings",
        "SELECT * FROM pg_settings",
        "SELECT sql FROM sqlite_master",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM duckdb_tables",
        "WITH sqlite_master AS (SELECT * FROM sqlite_master) SELECT * FROM sqlite_master",
        "SELECT * FROM sqlite_master, (WITH sqlite_master AS (SELECT 1) SELECT 1) t",
        "SELECT * FROM (SHOW ALL TABLES)",
        "SHOW DATABASES",
        "SELECT * FROM query('SELECT current_setting(''allowed_paths'')')",
        "SELECT * FROM query_table('sqlite_master')",
        "SELECT pg_get_viewdef(1)",
        "SELECT json_serialize_plan('SELECT * FROM s')",
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "SELECT 1 UNION ALL SELECT * FROM which_secret('x', 'y')",
        "SUMMARIZE sqlite_master",
        "SELECT * FROM s PIVOT (first(current_setting('allowed_paths')) FOR region IN ('a'))",
    ],
)
def test_a_query_does_not_learn_where_things_are_on_the_host(bench, sales, sql):
    params = {"sources": {"s": sales}, "sql": sql}

    outcome = bench.run("data.query", params)

    assert isinstance(outcome, Failed)
    assert outcome.code == "data.not_allowed"
    assert str(sales.path.parent) not in outcome.message
    preview = bench.dry_run("data.query", params)
    assert preview.summary == f"Would fail: {outcome.message}"


@pytest.mark.parametrize(
    "sql",
    [
        "WITH t AS (SELECT * FROM s), u AS (SELECT * FROM T) SELECT * FROM u JOIN S USING (day)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n",
        "SELECT * FROM s, range(3) r, unnest([1, 2]) u",
        "SUMMARIZE s",
        "DESCRIBE s",
        "FROM s SELECT region",
        "VALUES (1), (2)",
        "SELECT * FROM s PIVOT (sum(amount) FOR region IN ('north', 'south'))",
        "SELECT region, list(amount ORDER BY day) FROM s GROUP BY ALL",
    ],
)
def test_ordinary_queries_run(bench, sales, sql):
    assert bench.good("data.query", {"sources": {"s": sales}, "sql": sql})


def test_an_error_names_the_file_and_not_its_place(bench, tmp_path):
    tmp_path.joinpath("stored").mkdir()
    broken = as_file(tmp_path / "stored" / "0123", "a,b\n1,2\n3\n4,5,6\n" * 20)
    file = replace(broken, name="sales.parquet")

    outcome = bench.run(
        "data.query", {"sources": {"s": file}, "sql": "SELECT * FROM s"}
    )

    assert isinstance(outcome, Failed)
    assert str(tmp_path) not in outcome.message
    assert "sales.parquet" in outcome.message


def test_a_query_that_needs_too_much_memory_fails_and_says_so(bench, sales):
    bench.config = {"memory": "20MB"}
    sql = "SELECT list(random()) AS l FROM range(100000000)"

    outcome = bench.run("data.query", {"sources": {"s": sales}, "sql": sql})

    assert isinstance(outcome, Failed)
    assert outcome.code == "data.memory"


def test_a_file_of_another_kind_is_refused(bench, tmp_path):
    file = as_file(tmp_path / "page.pdf", "x")
    params = {"sources": {"s": file}, "sql": "SELECT 1"}

    assert bench.code("data.query", params) == "data.kind"


def test_the_dry_run_names_the_columns_and_reads_no_row(bench, sales):
    params = {"sources": {"s": sales}, "sql": "SELECT region, amount FROM s"}

    assert (
        "region VARCHAR, amount BIGINT" in bench.dry_run("data.query", params).summary
    )


def test_a_report_shows_the_rows_and_escapes_them(bench, tmp_path):
    rows = as_file(
        tmp_path / "rows.csv", 'name,n\n<script>alert(1)</script>,3\n"a, b",4\n'
    )

    outcome = bench.good("report.render", {"title": "T & <b>", "rows": rows})

    page = outcome.files["document"].read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<h1>T &amp; &lt;b&gt;</h1>" in page
    assert '<td class="n">4</td>' in page
    assert outcome.output["rows"] == 2


def test_a_report_takes_the_files_of_a_collection(bench, tmp_path):
    files = [
        as_file(tmp_path / "a.csv", "name,n\nfirst,1\n"),
        as_file(tmp_path / "b.json", '[{"name": "second", "n": 2}]'),
    ]
    params = {"title": "T", "rows": files}

    outcome = bench.good("report.render", params)

    page = outcome.files["document"].read_text()
    assert page.index("<td>first</td>") < page.index("<td>second</td>")
    assert outcome.output["rows"] == 2
    assert "a.csv, b.json" in bench.dry_run("report.render", params).summary


def test_the_same_rows_give_the_same_page(bench):
    params = {
        "title": "T",
        "rows": [{"a": 1, "b": None}, {"a": [2], "c": 3}],
        "values": {"k": 5},
    }

    made = [bench.good("report.render", params) for _ in range(2)]

    assert made[0].output["sha256"] == made[1].output["sha256"]
    assert "<dt>k</dt><dd>5</dd>" in made[0].files["document"].read_text()


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ title.__init__.__globals__ }}",
        "{{ rows.append(1) }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ range(10000000) }}",
        "{{ undefined_name }}",
        "{{ 1 / 0 }}",
        "{% for %}",
        "{{ '%s'.__class__.format_map }}",
    ],
)
def test_a_template_reaches_nothing_but_its_values(bench, template):
    params = {"title": "T", "rows": [{"a": 1}], "template": template}

    assert bench.code("report.render", params) == "report.template"


def test_an_own_template_is_used_and_escapes_too(bench, tmp_path):
    template = as_file(
        tmp_path / "t.html", "{{ title }}: {% for r in rows %}{{ r.a }}{% endfor %}"
    )

    outcome = bench.good(
        "report.render", {"title": "<T>", "rows": [{"a": "<1>"}], "template": template}
    )

    assert outcome.files["document"].read_text() == "&lt;T&gt;: &lt;1&gt;"


@pytest.mark.parametrize("content", ["{", '{"a": 1}', "[1, 2]", b"\xff\xfe\x00"])
def test_rows_that_cannot_be_read_are_said(bench, tmp_path, content):
    rows = as_file(tmp_path / "rows.json", content)

    assert bench.code("report.render", {"title": "T", "rows": rows}) == "report.rows"
