"""What the skill `data` promises."""

from orchestration.skills.builtin.shapes import (
    files,
    flag,
    listing,
    number,
    one_file,
    record,
    text,
)
from orchestration.skills.domain.contract import (
    ActionContract,
    DryRunKind,
    EffectClass,
    RetryRule,
    Risk,
    SkillContract,
)

QUERY = "data.query@1"
LOAD = "data.load@1"
UNLOAD = "data.unload@1"

IDENTIFIER = "^[A-Za-z_][A-Za-z0-9_]*$"
TABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$"

_QUERY = ActionContract(
    name="query",
    summary="Run SQL over {sources}.",
    handler=QUERY,
    input_schema=record(
        {
            "sources": {
                "type": "object",
                "title": "Sources",
                "description": "Name of a table in the SQL, and its CSV, Parquet or JSON files.",
                "minProperties": 1,
                "propertyNames": {"pattern": IDENTIFIER},
                "additionalProperties": files("Source", "One file or several alike."),
            },
            "sql": text("SQL", "One SELECT over the sources.", minLength=1),
            "format": text("Format", "Of the result.", enum=["csv", "json", "parquet"]),
            "name": text("Name", "Of the result, without suffix.", pattern=r"^[\w-]+$"),
        },
        ["sources", "sql"],
    ),
    output_schema=record(
        {
            "rows": number("Rows", "How many rows the result has."),
            "columns": listing(
                "Columns",
                "Of the result, in order.",
                record(
                    {
                        "name": text("Name", "Of the column."),
                        "type": text("Type", "As DuckDB names it."),
                    },
                    ["name", "type"],
                ),
            ),
        },
        ["rows", "columns"],
    ),
    effect_class=EffectClass.PURE,
    risk=Risk.LOW,
    timeout_s=300,
    dry_run=DryRunKind.SIMULATED,
    files=("result",),
    needs=("memory",),
)

_LOAD = ActionContract(
    name="load",
    summary="Load the rows of {file} into the table {table}.",
    handler=LOAD,
    input_schema=record(
        {
            "file": one_file("File", "CSV, Parquet or JSON with the rows."),
            "table": text("Table", "name or schema.name.", pattern=TABLE),
            "database": text("Database", "One of the configured; else the first."),
            "create": flag(
                "Create", "Make the table if it is not there (default yes)."
            ),
        },
        ["file", "table"],
    ),
    output_schema=record(
        {
            "load_id": text("Load", "Marks the rows of this load in the table."),
            "table": text("Table", "schema.name."),
            "database": text("Database", "Name in the configuration."),
            "rows": number("Rows", "How many rows were loaded."),
        },
        ["load_id", "table", "database", "rows"],
    ),
    effect_class=EffectClass.IDEMPOTENT,
    risk=Risk.HIGH,
    timeout_s=600,
    retry=RetryRule(attempts=3),
    undo="unload",
    undo_params={
        "load_id": "$self.output.load_id",
        "table": "$self.output.table",
        "database": "$self.output.database",
    },
    dry_run=DryRunKind.SIMULATED,
    checks_target=True,
)

_UNLOAD = ActionContract(
    name="unload",
    summary="Remove the rows of load {load_id} from the table {table}.",
    handler=UNLOAD,
    input_schema=record(
        {
            "load_id": text("Load", "As the load gave it.", minLength=1),
            "table": text("Table", "name or schema.name.", pattern=TABLE),
            "database": text("Database", "One of the configured; else the first."),
        },
        ["load_id", "table"],
    ),
    output_schema=record(
        {
            "load_id": text("Load", "Whose rows were removed."),
            "table": text("Table", "schema.name."),
            "removed": number("Removed", "How many rows went now."),
            "loaded": number("Loaded", "How many rows the load had put in."),
        },
        ["load_id", "table", "removed", "loaded"],
    ),
    effect_class=EffectClass.IDEMPOTENT,
    risk=Risk.HIGH,
    timeout_s=600,
    retry=RetryRule(attempts=3),
    dry_run=DryRunKind.SIMULATED,
)

SKILL = SkillContract(
    slug="data",
    version="1.0.0",
    name="Data",
    description="SQL over CSV, Parquet and JSON files; loads rows into a Postgres table and takes them out again.",
    domain="data",
    actions=(_QUERY, _LOAD, _UNLOAD),
    config={"databases": {"warehouse": {"$secret": "warehouse-dsn"}}},
    config_schema=record(
        {
            "databases": {
                "type": "object",
                "title": "Databases",
                "description": "Name and connection string of each, the latter as a secret.",
            },
            "memory": text("Memory", "Most that a query may use, such as 512MB."),
        }
    ),
    allowed=(
        "Read the files a step is given.",
        "Add rows to a table of a configured database, and remove rows it added.",
    ),
    forbidden=(
        "Read any other file, or reach the network from SQL.",
        "Change or remove rows it did not add.",
    ),
)
