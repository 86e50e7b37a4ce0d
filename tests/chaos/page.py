"""The reports of chaos tests as the table of docs/reliability.md."""

from collections.abc import Sequence
from typing import Any

from tests.documents import put_between_markers

PAGE = "docs/reliability.md"


def table(reports: Sequence[dict[str, Any]]) -> str:
    """One column per seed."""
    rows = [("count", *(f"seed {report['seed']}" for report in reports))]
    rows.append(("---", *("---:" for _ in reports)))
    rows += [(name, *(str(read(one)) for one in reports)) for name, read in ROWS]
    for check in reports[0]["violations"]:
        broken = (str(len(report["violations"][check])) for report in reports)
        rows.append((f"violations of: {check.replace('_', ' ')}", *broken))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(reports: Sequence[dict[str, Any]]) -> None:
    """Put it into the page."""
    put_between_markers(PAGE, "chaos", table(reports))


def _times(measured: dict[str, Any]) -> str:
    return f"{measured['steps']}, {measured['p99_s']}"


ROWS = (
    ("runs", lambda r: r["runs"]),
    ("steps", lambda r: sum(r["at_the_end"]["steps"].values())),
    ("runs with gated steps", lambda r: r["gated_runs"]),
    ("rollbacks", lambda r: r["rollbacks"]),
    ("kill -9 of a whole worker", lambda r: r["faults"].get("kill", 0)),
    ("kill -9 of a keeper", lambda r: r["faults"].get("keeper", 0)),
    ("workers stopped past their lease", lambda r: r["faults"].get("stop", 0)),
    ("FLUSHALL", lambda r: r["faults"].get("flush", 0)),
    ("all connections to Postgres cut", lambda r: r["faults"].get("cut", 0)),
    ("kill -9 of one process of a pool", lambda r: r["faults"].get("child", 0)),
    ("kill -9 of a runner", lambda r: r["faults"].get("runner", 0)),
    ("one process stopped past its lease", lambda r: r["faults"].get("freeze", 0)),
    ("connections cut before a commit", lambda r: r["faults"].get("request", 0)),
    ("connections cut after a commit", lambda r: r["faults"].get("answer", 0)),
    ("connections left half open", lambda r: r["faults"].get("silence", 0)),
    ("kill -9 of the web server", lambda r: r["faults"].get("web", 0)),
    ("kill -9 of the broker", lambda r: r["faults"].get("broker", 0)),
    ("immediate restarts of Postgres", lambda r: r["faults"].get("postgres", 0)),
    ("disk of the artifacts full", lambda r: r["faults"].get("disk", 0)),
    ("hints sent by the test", lambda r: r["hints"]),
    ("forged hints", lambda r: r["forged_hints"]),
    ("changes written without a lock", lambda r: r["changes_of_runs"]["fast"]),
    (
        "tries of these that were refused",
        lambda r: r["changes_of_runs"]["fast refused"],
    ),
    ("changes written under the lock", lambda r: r["changes_of_runs"]["locked"]),
    ("seconds of faults", lambda r: r["seconds_of_faults"]),
    ("seconds to settle after the faults", lambda r: r["seconds_to_settle"]),
    (
        "kill -9 until a repeatable step starts again: steps, p99 in s",
        lambda r: _times(r["reclaimed_after_kill"]),
    ),
    (
        "broker emptied until a ready step starts: steps, p99 in s",
        lambda r: _times(r["started_after_wipe"]),
    ),
    (
        "the same kill alone: steps, p99 in s",
        lambda r: _times(r["alone"]["reclaimed_after_kill"]),
    ),
    (
        "broker emptied alone, time added until a step starts: steps, p99 in s",
        lambda r: _times(r["alone"]["added_by_wipe"]),
    ),
    ("attempts lost", lambda r: r["at_the_end"]["attempts"].get("lost", 0)),
    (
        "steps with unknown outcome",
        lambda r: r["at_the_end_of_faults"]["steps"].get("indeterminate", 0),
    ),
    (
        "of these, not by the handler's own doing",
        lambda r: r["unknown_outcomes"]["all"],
    ),
    (
        "of these, the handler never was called",
        lambda r: r["unknown_outcomes"]["never_received"],
    ),
    ("resolved: it had happened", lambda r: r["resolved_as_happened"]),
    (
        "idempotent effects repeated",
        lambda r: r["repeated_effects_of_idempotent_steps"],
    ),
    ("events in the record", lambda r: r["at_the_end"]["events"]),
)
