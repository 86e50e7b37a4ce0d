"""Large runs: memory of worker and web, and what an open page costs while they run."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median

import psycopg
from django.conf import settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from audit import selectors as audit
from execfabric.identity.models import User
from execfabric.local.service import ServiceProcess
from orchestration.runs.models import Run
from tests.bench import graphs, parts, plans
from tests.bench.people import People, patiently
from tests.chaos.stage import Stage
from tests.console_builders import signed_in
from tests.servers import eventually

POLL_S = 0.2
LOADS = 5
STATE = "SELECT state FROM runs_run WHERE id = %s"


def by_kind(
    stage: Stage, who: People, processes: int, sizes: list[int]
) -> dict[str, dict[str, float]]:
    """Return the figures of each kind of large run, with a page that is open."""
    found: dict[str, dict[str, float]] = {}
    kinds: dict[str, Callable[[int], str]] = {
        "items": plans.items,
        "steps": graphs.document,
    }
    with (
        parts.keeper(stage.env),
        parts.worker(stage.env, processes) as worker,
        parts.web(stage.env) as (web, port),
    ):
        browser = Browser(port, who.operator)
        for kind, text in kinds.items():
            _measured(stage, who, browser, text(10), worker, web)
            for size in sizes:
                figures = _measured(stage, who, browser, text(size), worker, web)
                found[f"{size:,} {kind}"] = {"steps": size, **figures}
    return found


class Browser:
    """Loads the pages of a signed-in user, and listens on the socket of one of them."""

    def __init__(self, port: int, user: User) -> None:
        self._host = f"127.0.0.1:{port}"
        name = settings.SESSION_COOKIE_NAME
        self._cookie = f"{name}={signed_in(user).cookies[name].value}"

    def load(self, path: str) -> tuple[float, int]:
        """Return the seconds until a page has arrived, and its bytes."""
        server = http.client.HTTPConnection(self._host)
        begun = time.perf_counter()
        server.request("GET", path, headers={"Cookie": self._cookie})
        response = server.getresponse()
        body = response.read()
        taken = time.perf_counter() - begun
        server.close()
        if response.status != http.client.OK:
            raise RuntimeError(body[:1000])
        return taken, len(body)

    @contextmanager
    def watching(self, run: Run) -> Iterator[list[int]]:
        """Keep the page of a run open; give the bytes of each message so far."""
        sizes: list[int] = []
        address = f"ws://{self._host}/ws/runs/{run.pk}/?after={audit.head(run.stream)}"
        headers = {"Cookie": self._cookie, "Origin": f"http://{self._host}"}
        with connect(
            address, additional_headers=headers, proxy=None, max_size=None
        ) as socket:
            reader = threading.Thread(target=_read, args=(socket, sizes))
            reader.start()
            # The first frame says that the page is live.
            if not eventually(lambda: sizes, within=60):
                message = "No frame came from the socket of the page."
                raise RuntimeError(message)
            yield sizes
            time.sleep(2)  # for the last frame
        reader.join()


def _read(socket: ClientConnection, sizes: list[int]) -> None:
    with suppress(ConnectionClosed):
        sizes.extend(len(message) for message in socket)


def _measured(
    stage: Stage,
    who: People,
    browser: Browser,
    text: str,
    worker: ServiceProcess,
    web: ServiceProcess,
) -> dict[str, float]:
    """Run one plan to its end while its page is open."""
    (run,) = who.propose(text, 1)
    before = {"worker": parts.rss_mib(worker), "web": parts.rss_mib(web)}
    peak = dict(before)
    begun = time.perf_counter()
    with (
        psycopg.connect(stage.endpoints.database_url, autocommit=True) as database,
        browser.watching(run) as sizes,
    ):
        who.approve(run)
        for _ in patiently(POLL_S):
            peak["worker"] = max(peak["worker"], parts.rss_mib(worker))
            peak["web"] = max(peak["web"], parts.rss_mib(web))
            row = database.execute(STATE, [run.pk]).fetchone()
            if row and row[0] != "running":
                break
        taken = time.perf_counter() - begun
    run.refresh_from_db()
    if run.state != "succeeded":
        message = f"The run is {run.state}: {run.reason}"
        raise RuntimeError(message)
    early, late = _pace(run)
    page = [browser.load(f"/runs/{run.pk}") for _ in range(LOADS)]
    graph = [browser.load(f"/runs/{run.pk}?view=graph") for _ in range(LOADS)]
    memory = {f"{name}_mib_before": value for name, value in before.items()}
    memory |= {f"{name}_mib_peak": value for name, value in peak.items()}
    return memory | {
        "seconds": taken,
        "early_ms": early,
        "late_ms": late,
        "updates": len(sizes),
        "update_bytes": median(sizes),
        "largest_update_bytes": max(sizes),
        "page_ms": median(seconds for seconds, _ in page) * 1000,
        "page_bytes": page[-1][1],
        "graph_ms": median(seconds for seconds, _ in graph) * 1000,
        "graph_bytes": graph[-1][1],
    }


def _pace(run: Run) -> tuple[float, float]:
    """Return milliseconds per step in the second and in the last but one tenth."""
    ended = run.steps.exclude(kind="for_each").order_by("finished_at")
    times = list(ended.values_list("finished_at", flat=True))
    tenth = len(times) // 10
    early = times[2 * tenth] - times[tenth]
    late = times[9 * tenth] - times[8 * tenth]
    return tuple(one.total_seconds() * 1000 / tenth for one in (early, late))
