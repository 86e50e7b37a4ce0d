"""Find what is wrong with the service itself: clocks, disks, and steps no worker takes."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, Max

from execfabric.infra import database, disk
from execfabric.lib import clock
from orchestration.runs.control.stops import covers
from orchestration.runs.models import Alert, StepRun, Stop

SKEW_S = 5.0
"""Seconds by which a clock may differ from that of the database."""
LONG_S = 30.0
"""Seconds after which a step that no worker has taken is reported."""
ANSWER_S = 1.0
"""Seconds after which the answer of the database is too late to compare clocks."""
EVERY_S = 10.0
REPEAT_S = 60.0
MOST = 200
log = logging.getLogger(__name__)

# An attempt has the time of its worker and that of the database.
_SKEWED = """
SELECT worker, min(extract(epoch FROM intent_at - recorded_at))::float8
FROM (SELECT * FROM runs_attempt ORDER BY id DESC LIMIT 200) AS latest
WHERE recorded_at > clock_timestamp() - interval '10 min'
GROUP BY worker
HAVING min(abs(extract(epoch FROM intent_at - recorded_at))) > %s
ORDER BY worker LIMIT 20
"""
# The last event that wrote a ready step is the one that made it ready.
_UNTAKEN = """
SELECT step.id FROM runs_steprun AS step
JOIN runs_run AS run ON run.id = step.run_id
JOIN audit_event AS event ON event.stream = 'run:' || run.id AND event.seq = step.seq
WHERE step.state = 'ready' AND run.state = 'running'
  AND event.at < %s
  AND (run.parallel_max = 0 OR run.parallel_max > (SELECT count(*)
    FROM runs_steprun AS other WHERE other.run_id = run.id AND other.state = 'running'))
ORDER BY event.at LIMIT %s
"""
_WORKING = """
SELECT EXISTS (SELECT FROM runs_steprun WHERE state = 'running')
  OR (SELECT recorded_at FROM runs_attempt ORDER BY id DESC LIMIT 1)
    > clock_timestamp() - %s * interval '1 s'
"""


@dataclass(frozen=True)
class Finding:
    """What is wrong, and the smallest useful next action."""

    code: str
    text: str
    action: str


def findings() -> list[Finding]:
    """Return what is wrong with the service now."""
    return [*_disk(), *_own_clock(), *_clocks_of_workers(), *_queue(), *_alerts()]


class FindingLog:
    """Looks for findings every 10 seconds, and logs each at most once a minute."""

    def __init__(self) -> None:
        self._next_look = 0.0
        self._logged: dict[str, float] = {}

    def log(self) -> int:
        """Log what is wrong now; return how many findings there are."""
        now = time.monotonic()
        if now < self._next_look:
            return 0
        self._next_look = now + EVERY_S
        found = findings()
        for each in found:
            if now >= self._logged.get(each.code, now):
                self._logged[each.code] = now + REPEAT_S
                log.warning("%s %s", each.text, each.action)
        return len(found)


def _disk() -> list[Finding]:
    shortage = disk.shortage()
    if shortage is None:
        return []
    return [Finding("disk", shortage, "Free disk space: until then no step starts.")]


def _own_clock() -> list[Finding]:
    skew = skew_s()
    if skew is None or abs(skew) <= SKEW_S:
        return []
    text = f"The clock of this server differs from the database by {_seconds(skew)}."
    return [Finding("clock", text, "Synchronize the clocks of all hosts.")]


def skew_s() -> float | None:
    """Return the seconds by which this clock is ahead of the database's, if measurable."""
    before = clock.now()
    [[theirs]] = database.rows("SELECT clock_timestamp()", [])
    after = clock.now()
    if after - before > timedelta(seconds=ANSWER_S):
        return None
    ours = before + (after - before) / 2
    return float((ours - theirs).total_seconds())


def _clocks_of_workers() -> list[Finding]:
    found = database.rows(_SKEWED, [SKEW_S])
    return [
        Finding(
            f"clock:{worker}",
            f"The clock of worker {worker} differs from the database by"
            f" {_seconds(skew)}.",
            "Synchronize the clocks of all hosts.",
        )
        for worker, skew in found
    ]


def _seconds(skew: float) -> str:
    return f"{abs(skew):.1f} s ({'ahead' if skew > 0 else 'behind'})"


def _queue() -> list[Finding]:
    untaken = _untaken()
    if not untaken:
        return []
    count = f"{len(untaken)}{'+' if len(untaken) == MOST else ''}"
    [[is_working]] = database.rows(_WORKING, [LONG_S])
    text = f"{count} ready steps have waited for a worker for {LONG_S:g} s or longer."
    if is_working:
        return [Finding("queue", text, "Start more workers.")]
    text = f"No worker starts steps. {text}"
    return [Finding("no_worker", text, "Start a worker, and check its log.")]


def _alerts() -> list[Finding]:
    """Find the channels by which alerts of the last day could not be sent."""
    since = clock.now() - timedelta(days=1)
    rows = Alert.objects.filter(created_at__gt=since, sent_at=None).exclude(error="")
    counted = rows.values("channel").annotate(count=Count("pk"), why=Max("error"))
    return [
        Finding(
            f"alerts:{row['channel']}",
            f"{row['count']} alerts could not be sent by {row['channel']}: {row['why']}",
            "Check the settings of alerts.",
        )
        for row in counted.order_by("channel")
    ]


def _untaken() -> Sequence[StepRun]:
    """Return the steps that no worker takes, without those that a stop holds."""
    before = clock.now() - timedelta(seconds=LONG_S)
    ids = [pk for (pk,) in database.rows(_UNTAKEN, [before, MOST])]
    stops = Stop.objects.filter(lifted_at__isnull=True) if ids else ()
    steps = StepRun.objects.filter(pk__in=ids).select_related("spec")
    return [step for step in steps if not any(covers(stop, step) for stop in stops)]
